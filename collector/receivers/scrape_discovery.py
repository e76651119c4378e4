"""
Which targets there are now: from the configuration itself, from files that others rewrite, from URLs and from names.

    static, files: read by `look`           URLs, names: fetched by `Polls`, looked at by `look`
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from collector.model.series import labels_of
from collector.receivers.scrape_config import ScrapeConfig, StaticConfig, reason
from collector.receivers.scrape_target import DroppedTarget, Target, TargetError, target_of

_log = logging.getLogger(__name__)
_GROUPS = TypeAdapter(list[StaticConfig])
FILE_LIMIT = 4 * 1024 * 1024  # bytes; some 20,000 targets


def groups_of(data: Any) -> list[StaticConfig]:
    """
    Target groups as file and HTTP discovery bring them.

    Raises:
        ValueError: names the place and what is wrong.
    """
    try:
        return _GROUPS.validate_python(data or [])
    except ValidationError as error:
        raise ValueError(reason(error)) from None


@dataclass(frozen=True, slots=True)
class Found:
    """The targets of one configuration as of now, each once."""

    targets: list[Target] = field(default_factory=list)
    dropped: list[DroppedTarget] = field(default_factory=list)  # no more than keep_dropped_targets of them
    dropped_count: int = 0
    problem: str = ""  # why none of the targets may be scraped


class Discovery:
    """The targets of one configuration. A source that cannot be read keeps the targets that it had."""

    def __init__(self, config: ScrapeConfig) -> None:
        self._config = config
        self._signatures: dict[Path, tuple[int, int, int]] = {}
        self._files: dict[Path, list[StaticConfig]] = {}
        self._polled: dict[str, list[StaticConfig]] = {}  # by what was asked
        self._refused: set[str] = set()
        self._changed = True
        self._found = Found()
        self.failed_reads = 0

    def look(self) -> Found:
        """Read what has changed."""
        present = {path for pattern in self._patterns() for path in _matching(pattern)}
        for path in self._files.keys() - present:
            del self._files[path]
            self._signatures.pop(path, None)
            self._changed = True
        for path in present:
            self._read(path)
        if self._changed:
            self._found = self._relabelled()
            self._changed = False
        return self._found

    def polled(self, source: str, groups: list[StaticConfig]) -> None:
        """What a URL or a name has answered."""
        if self._polled.get(source) != groups:
            self._polled[source] = groups
            self._changed = True

    def follow(self, before: Discovery) -> None:
        """Begin with what the job's former configuration had learnt from the same URLs and names."""
        asked = {each.url for each in self._config.http_sd_configs}
        asked |= {f"{each.type} {name}" for each in self._config.dns_sd_configs for name in each.names}
        self._polled = {source: groups for source, groups in before._polled.items() if source in asked}

    def _patterns(self) -> Iterator[str]:
        for files in self._config.file_sd_configs:
            yield from files.files

    def _read(self, path: Path) -> None:
        try:
            status = path.stat()
            signature = (status.st_mtime_ns, status.st_size, status.st_ino)
            if self._signatures.get(path) == signature:
                return
            self._signatures[path] = signature
            if status.st_size > FILE_LIMIT:
                raise ValueError(f"{status.st_size} bytes are over the limit of {FILE_LIMIT}")
            self._files[path] = groups_of(_loaded(path))
            self._changed = True
        except FileNotFoundError:
            return  # gone between glob and stat: the next look sees it
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            self.failed_reads += 1
            _log.warning("targets of %s stay as they were: %s", path, error)

    def _relabelled(self) -> Found:
        config = self._config
        targets: dict[Target, None] = {}
        dropped: dict[DroppedTarget, None] = {}
        for address, labels in self._addresses():
            try:
                target = target_of(config, address, labels)
            except TargetError as error:
                if str(error) not in self._refused:
                    self._refused.add(str(error))
                    _log.warning("left out: %s", error)
                continue
            if isinstance(target, Target):
                targets[target] = None
            else:
                dropped[target] = None
        problem = ""
        if config.target_limit and len(targets) > config.target_limit:
            problem = f"target_limit exceeded (number of targets: {len(targets)}, limit: {config.target_limit})"
        return Found(list(targets), list(dropped)[: config.keep_dropped_targets or None], len(dropped), problem)

    def _addresses(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Each target's address and labels. Of equal URLs and labels relabelling keeps one, as in Prometheus."""
        sources: list[tuple[StaticConfig, dict[str, str]]] = [(group, {}) for group in self._config.static_configs]
        for path in sorted(self._files):
            sources += [(group, {"__meta_filepath": str(path)}) for group in self._files[path]]
        for groups in self._polled.values():
            sources += [(group, {}) for group in groups]
        for group, extra in sources:
            labels = dict(labels_of(group.labels | extra))
            for address in group.targets:
                yield address, labels


def _matching(pattern: str) -> Iterator[Path]:
    path = Path(pattern)
    return path.parent.glob(path.name)


def _loaded(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
