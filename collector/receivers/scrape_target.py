"""
One endpoint to scrape: from a discovered label set, through relabelling, to its URL and final labels. No I/O.

Source: Prometheus scrape/target.go, PopulateLabels and Target.URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from collector.model.duration import format_duration
from collector.model.series import Labels, labels_of
from collector.receivers.relabel import relabelled
from collector.receivers.scrape_config import ScrapeConfig, duration_s

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"\[[0-9A-Fa-f:.%a-z]+\]|[^\[\]/:?#@\s\x00-\x1f]+")
_HOST_PORT = re.compile(rf"({_HOST.pattern})(?::([0-9]{{1,5}}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint, as it is scraped."""

    pool: str  # the job_name of its configuration
    url: str
    labels: Labels  # that its series get; `job` and `instance` among them
    discovered: Labels  # before relabelling
    interval_s: float
    timeout_s: float

    @property
    def group(self) -> str:
        """The SampleBatch.target of its samples."""
        labels = dict(self.labels)
        return f"scrape|{labels.get('job', '')}|{labels.get('instance', '')}"


@dataclass(frozen=True, slots=True)
class DroppedTarget:
    """What relabelling left out."""

    pool: str
    discovered: Labels


class TargetError(ValueError):
    """A target's address or one of its __ labels is wrong."""


def target_of(config: ScrapeConfig, address: str, labels: Mapping[str, str]) -> Target | DroppedTarget:
    """
    Raises:
        TargetError: names the address and what is wrong.
    """
    discovered = {
        "__metrics_path__": config.metrics_path,
        "__scheme__": config.scheme,
        "__scrape_interval__": format_duration(round(config.scrape_interval * 1000)),
        "__scrape_timeout__": format_duration(round(config.timeout_s * 1000)),
        "job": config.job_name,
        **{f"__param_{name}": values[0] for name, values in config.params.items() if values},
        **{name: value for name, value in labels.items() if value},
        "__address__": address,
    }
    kept = relabelled(discovered, config.relabel_configs)
    if kept is None:
        return DroppedTarget(config.job_name, labels_of(discovered))
    try:
        return _scraped(config, kept, labels_of(discovered))
    except ValueError as error:
        raise TargetError(f"target {kept.get('__address__', '')!r} of job {config.job_name}: {error}") from None


def _scraped(config: ScrapeConfig, labels: dict[str, str], discovered: Labels) -> Target:
    scheme = labels.get("__scheme__", "http")
    if scheme not in _PORTS:
        raise ValueError(f'invalid scheme: "{scheme}"')
    if not labels.get("__address__"):
        raise ValueError("no address")
    match = _HOST_PORT.fullmatch(labels["__address__"])
    if match is None or int(match[2] or 0) > 65535:
        raise ValueError("not a valid host:port")
    interval_s, timeout_s = (_positive_s(labels, name) for name in ("__scrape_interval__", "__scrape_timeout__"))
    if timeout_s > interval_s:
        raise ValueError(
            f"scrape timeout cannot be greater than scrape interval "
            f"({labels['__scrape_timeout__']} > {labels['__scrape_interval__']})"
        )
    final = {name: value for name, value in labels.items() if not name.startswith("__")}
    host, port = match[1], match[2] or _PORTS[scheme]
    final.setdefault("instance", f"{host}:{port}")
    return Target(config.job_name, _url(config, labels), labels_of(final), discovered, interval_s, timeout_s)


def _positive_s(labels: Mapping[str, str], name: str) -> float:
    what = name.strip("_").replace("_", " ")
    try:
        seconds = duration_s(labels.get(name, ""))
    except ValueError as error:
        raise ValueError(f"error parsing {what}: {error}") from None
    if not seconds:
        raise ValueError(f"{what} cannot be 0")
    return seconds


def _url(config: ScrapeConfig, labels: Mapping[str, str]) -> str:
    params = {name: list(values) for name, values in config.params.items()}
    for name, value in labels.items():
        if name.startswith("__param_"):
            rest = params.get(name.removeprefix("__param_"), [])[1:]
            params[name.removeprefix("__param_")] = [value, *rest]
    query = f"?{urlencode(sorted(params.items()), doseq=True)}" if params else ""
    path = labels.get("__metrics_path__", "")
    slash = "" if path.startswith("/") or not path else "/"
    return f"{labels.get('__scheme__', 'http')}://{labels['__address__']}{slash}{path}{query}"
