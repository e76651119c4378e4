"""Which targets there are now: from the configuration itself, and from files that others rewrite."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml
from pydantic import TypeAdapter, ValidationError

from collector.model.series import Labels, labels_of
from collector.receivers.scrape_config import ScrapeConfig, StaticConfig, duration_s

_log = logging.getLogger(__name__)
_GROUPS = TypeAdapter(list[StaticConfig])
_PORTS = {"http": 80, "https": 443}
FILE_LIMIT = 4 * 1024 * 1024  # bytes; some 20,000 targets


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint, as it is scraped."""

    pool: str  # the job_name of its configuration
    url: str
    labels: Labels  # that its series get; `job` and `instance` among them
    discovered: Labels  # before names with __ left
    interval_s: float
    timeout_s: float

    @property
    def group(self) -> str:
        """The SampleBatch.target of its samples."""
        labels = dict(self.labels)
        return f"scrape|{labels.get('job', '')}|{labels.get('instance', '')}"


class TargetError(ValueError):
    """A target's address or one of its __ labels is wrong."""


def target_of(config: ScrapeConfig, address: str, labels: dict[str, str]) -> Target:
    """
    Raises:
        TargetError: names the address and what is wrong.
    """
    discovered = {
        "__address__": address,
        "__metrics_path__": config.metrics_path,
        "__scheme__": config.scheme,
        "__scrape_interval__": f"{config.scrape_interval * 1000:.0f}ms",
        "__scrape_timeout__": f"{config.timeout_s * 1000:.0f}ms",
        "job": config.job_name,
        **{f"__param_{name}": values[0] for name, values in config.params.items() if values},
        **labels,
    }
    address = discovered["__address__"]
    host = urlsplit(f"//{address}")
    if not address or "/" in address or not host.hostname:
        raise TargetError(f"target {address!r} of job {config.job_name} is not host:port")
    try:
        port = host.port or _PORTS[discovered["__scheme__"]]
        interval_s = duration_s(discovered["__scrape_interval__"])
        timeout_s = min(duration_s(discovered["__scrape_timeout__"]), interval_s)
    except (KeyError, ValueError) as error:
        raise TargetError(f"target {address!r} of job {config.job_name}: {error}") from error
    if not interval_s > 0 or not timeout_s > 0:
        raise TargetError(f"target {address!r} of job {config.job_name}: interval and timeout must be over 0")
    final = {name: value for name, value in discovered.items() if not name.startswith("__")}
    final.setdefault("instance", address if host.port else f"{address}:{port}")
    return Target(
        pool=config.job_name,
        url=_url(config, discovered),
        labels=labels_of(final),
        discovered=labels_of(discovered),
        interval_s=interval_s,
        timeout_s=timeout_s,
    )


def _url(config: ScrapeConfig, discovered: dict[str, str]) -> str:
    params = {name: list(values) for name, values in config.params.items()}
    for name, value in discovered.items():
        if name.startswith("__param_"):
            rest = params.get(name.removeprefix("__param_"), [])[1:]
            params[name.removeprefix("__param_")] = [value, *rest]
    query = f"?{urlencode(params, doseq=True)}" if params else ""
    path = discovered["__metrics_path__"]
    slash = "" if path.startswith("/") else "/"
    return f"{discovered['__scheme__']}://{discovered['__address__']}{slash}{path}{query}"


class Discovery:
    """The targets of one configuration. A file that cannot be read keeps the targets that it had."""

    def __init__(self, config: ScrapeConfig) -> None:
        self._config = config
        self._signatures: dict[Path, tuple[int, int, int]] = {}
        self._groups: dict[Path, list[StaticConfig]] = {}
        self._refused: set[str] = set()
        self.failed_reads = 0

    def look(self) -> list[Target]:
        """Read what has changed; the targets as of now, each once."""
        found = {path for pattern in self._patterns() for path in _matching(pattern)}
        for path in self._groups.keys() - found:
            del self._groups[path]
            self._signatures.pop(path, None)
        for path in found:
            self._read(path)
        return list(dict.fromkeys(self._targets()))

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
            self._groups[path] = _GROUPS.validate_python(_loaded(path) or [])
        except FileNotFoundError:
            return  # gone between glob and stat: the next look sees it
        except (OSError, ValueError, ValidationError, yaml.YAMLError) as error:
            self.failed_reads += 1
            _log.warning("targets of %s stay as they were: %s", path, error)

    def _targets(self) -> Iterator[Target]:
        sources: list[tuple[StaticConfig, dict[str, str]]] = [(group, {}) for group in self._config.static_configs]
        for path in sorted(self._groups):
            sources += [(group, {"__meta_filepath": str(path)}) for group in self._groups[path]]
        for group, extra in sources:
            for address in group.targets:
                try:
                    yield target_of(self._config, address, group.labels | extra)
                except TargetError as error:
                    if str(error) not in self._refused:
                        self._refused.add(str(error))
                        _log.warning("left out: %s", error)


def _matching(pattern: str) -> Iterator[Path]:
    path = Path(pattern)
    return path.parent.glob(path.name)


def _loaded(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
