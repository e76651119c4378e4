"""
What to scrape: one entry of `scrape_configs` in Prometheus's configuration file.

Every key of Prometheus works, or is refused by name where ignoring it would scrape the wrong thing, or is named among
the `ignored` where it changes nothing that is stored here.

Source: prometheus.io/docs/prometheus/latest/configuration/configuration, <scrape_config>; config/config.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError, model_validator

from collector.errors import ConfigError
from collector.model.duration import parse_duration_ms
from collector.receivers.native_options import NativeOptions
from collector.receivers.relabel import RelabelRule
from collector.receivers.scrape_http_config import HttpClientConfig, Strict, resolved

# Prometheus sets no limit by default; a page of ours is some 50 KB, and a broken peer must not fill the memory.
DEFAULT_BODY_LIMIT = 32 * 1024 * 1024
# Discoveries that are not built: refused when they list anything, as their targets would silently be missing.
UNBUILT_DISCOVERIES = frozenset({
    f"{kind}_sd_configs"
    for kind in (
        "aws", "azure", "consul", "digitalocean", "docker", "dockerswarm", "ec2", "ecs", "eureka", "gce", "hetzner",
        "ionos", "kubernetes", "kuma", "lightsail", "linode", "marathon", "nerve", "nomad", "openstack", "ovhcloud",
        "puppetdb", "scaleway", "serverset", "stackit", "triton", "uyuni", "vultr",
    )
})  # fmt: skip
IGNORED_KEYS = frozenset({"scrape_failure_log_file"})  # a log of its own
# What a job inherits from `global` when it does not set it, or sets 0 (config.go, ScrapeConfig.Validate).
INHERITED = (
    "scrape_interval", "scrape_protocols", "body_size_limit", "sample_limit", "target_limit", "label_limit",
    "label_name_length_limit", "label_value_length_limit", "keep_dropped_targets", "extra_scrape_metrics",
    "metric_name_validation_scheme", "metric_name_escaping_scheme", "convert_classic_histograms_to_nhcb",
    "scrape_native_histograms", "always_scrape_classic_histograms",
)  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTPE]i?)?B?", re.ASCII)
_UTF8_SURROGATE = re.compile(r"[\ud800-\udfff]")


def duration_s(text: Any) -> float:
    """
    Seconds of a duration such as `1s`, `500ms` or `1m30s`.

    Raises:
        ValueError: it is none; a number alone is none either.
    """
    if isinstance(text, int | float) and not isinstance(text, bool) and text == 0:
        return 0.0
    if not isinstance(text, str):
        raise ValueError(f"not a valid duration string: {text!r}; a duration such as 15s, 1m30s or 6h is needed")
    return parse_duration_ms(text) / 1000


def _size_bytes(text: Any) -> Any:
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return text
    power = "KMGTPE".index(match[2][0]) + 1 if match[2] else 0
    return int(float(match[1]) * 1024**power)  # Prometheus's units.Base2Bytes: KB and KiB are both 1024


Duration = Annotated[float, BeforeValidator(duration_s), Field(gt=0)]  # seconds
Size = Annotated[int, BeforeValidator(_size_bytes), Field(ge=0)]
Limit = Annotated[int, Field(ge=0)]  # 0 is none


class ScrapeProtocol(Enum):
    """With the content type that stands for it in Accept."""

    PROTOBUF = "PrometheusProto"
    OPENMETRICS_1 = "OpenMetricsText1.0.0"
    OPENMETRICS_0 = "OpenMetricsText0.0.1"
    TEXT_1 = "PrometheusText1.0.0"
    TEXT_0 = "PrometheusText0.0.4"

    @property
    def openmetrics(self) -> bool:
        return self in (ScrapeProtocol.OPENMETRICS_0, ScrapeProtocol.OPENMETRICS_1)


# Prometheus's order (config.go, DefaultScrapeProtocols).
TEXT_PROTOCOLS = (
    ScrapeProtocol.OPENMETRICS_1,
    ScrapeProtocol.OPENMETRICS_0,
    ScrapeProtocol.TEXT_1,
    ScrapeProtocol.TEXT_0,
)


class StaticConfig(Strict):
    """A group of targets: in the file itself, and in what discovery brings."""

    targets: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names(self) -> Self:
        for name, value in self.labels.items():
            if not name:
                raise ValueError("a label's name is empty")
            if _UTF8_SURROGATE.search(name + value):
                raise ValueError(f"label {name!r} is not valid UTF-8")
        return self


class FileDiscoveryConfig(Strict):
    files: tuple[str, ...] = Field(min_length=1)  # only the last part of a path may have *
    refresh_interval: Duration = 300.0  # accepted as Prometheus has it; files are looked at twice a second anyway

    @model_validator(mode="after")
    def _suffixes(self) -> Self:
        for name in self.files:
            if not name.endswith((".json", ".yml", ".yaml")):
                raise ValueError(f"file {name!r} must end in .json, .yml or .yaml")
        return self


class HttpDiscoveryConfig(HttpClientConfig):
    url: str
    refresh_interval: Duration = 60.0

    @model_validator(mode="after")
    def _is_http(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("URL scheme must be 'http' or 'https', and a host is needed in URL")
        return self


class DnsDiscoveryConfig(Strict):
    """Addresses of names. Prometheus's default type, SRV, and MX and NS need a resolver that is not built."""

    names: tuple[str, ...] = Field(min_length=1)
    type: Literal["A", "AAAA"]
    port: int = Field(ge=1, le=65535)
    refresh_interval: Duration = 30.0

    @model_validator(mode="before")
    @classmethod
    def _built(cls, raw: Any) -> Any:
        kind = str(raw.get("type", "SRV")).upper() if isinstance(raw, Mapping) else ""
        if kind in ("SRV", "MX", "NS"):
            raise ValueError(f"type {kind} is not supported, only A and AAAA are")
        return {**raw, "type": kind} if isinstance(raw, Mapping) else raw


class ScrapeConfig(HttpClientConfig):
    job_name: str = Field(min_length=1)
    scrape_interval: Duration = 60.0  # Prometheus's global.scrape_interval
    scrape_timeout: Duration | None = None  # none: 10 s, Prometheus's, or the interval if that is shorter
    metrics_path: str = "/metrics"
    scheme: Literal["http", "https"] = "http"
    params: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    honor_labels: bool = False
    honor_timestamps: bool = True
    track_timestamps_staleness: bool = False
    enable_compression: bool = True
    static_configs: tuple[StaticConfig, ...] = ()
    file_sd_configs: tuple[FileDiscoveryConfig, ...] = ()
    http_sd_configs: tuple[HttpDiscoveryConfig, ...] = ()
    dns_sd_configs: tuple[DnsDiscoveryConfig, ...] = ()
    relabel_configs: tuple[RelabelRule, ...] = ()
    metric_relabel_configs: tuple[RelabelRule, ...] = ()
    scrape_protocols: tuple[ScrapeProtocol, ...] = ()  # none: TEXT_PROTOCOLS, before them protobuf if it is of use
    scrape_native_histograms: bool = False
    always_scrape_classic_histograms: bool = Field(
        default=False, validation_alias=AliasChoices("always_scrape_classic_histograms", "scrape_classic_histograms")
    )
    native_histogram_bucket_limit: Limit = 0
    native_histogram_min_bucket_factor: float = 0.0
    fallback_scrape_protocol: ScrapeProtocol | None = None
    metric_name_validation_scheme: Literal["utf8", "legacy"] = "utf8"
    metric_name_escaping_scheme: Literal["allow-utf-8", "underscores", "dots", "values"] | None = None
    convert_classic_histograms_to_nhcb: Literal[False] = False
    extra_scrape_metrics: bool = False
    body_size_limit: Size = 0  # of the unpacked body; 0 is DEFAULT_BODY_LIMIT here
    sample_limit: Limit = 0
    target_limit: Limit = 0
    label_limit: Limit = 0
    label_name_length_limit: Limit = 0  # in bytes of UTF-8, as the next one
    label_value_length_limit: Limit = 0
    keep_dropped_targets: Limit = 0
    ignored: tuple[str, ...] = ()  # keys of the file that have no effect here

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        if raw.get("convert_classic_histograms_to_nhcb"):
            raise ValueError("not supported: convert_classic_histograms_to_nhcb, as custom buckets are not stored")
        unbuilt = sorted(name for name in UNBUILT_DISCOVERIES & raw.keys() if raw[name])
        if unbuilt:
            raise ValueError(f"not supported: {', '.join(unbuilt)}")
        left_out = UNBUILT_DISCOVERIES | IGNORED_KEYS
        ignored = sorted(name for name in IGNORED_KEYS & raw.keys() if raw[name])
        kept = {name: value for name, value in raw.items() if name not in left_out and value is not None}
        return kept | ({"ignored": tuple(ignored)} if ignored else {})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scrape_timeout is not None and self.scrape_timeout > self.scrape_interval:
            raise ValueError(
                f"scrape_timeout {self.scrape_timeout:g} s is longer than scrape_interval {self.scrape_interval:g} s"
            )
        if len(set(self.scrape_protocols)) != len(self.scrape_protocols):
            raise ValueError("scrape_protocols: a protocol stands twice")
        if self.metric_name_escaping_scheme == "allow-utf-8" and self.metric_name_validation_scheme == "legacy":
            raise ValueError("utf8 metric names requested but validation scheme is not set to UTF8")
        if not self.relabel_configs:  # with rules, what looks like a URL may be made an address
            for address in (address for group in self.static_configs for address in group.targets):
                if "/" in address:
                    raise ValueError(f'"{address}" is not a valid hostname')
        return self

    @property
    def protocols(self) -> tuple[ScrapeProtocol, ...]:
        """In the order in which they are asked for."""
        if self.scrape_protocols:
            return self.scrape_protocols
        return (ScrapeProtocol.PROTOBUF, *TEXT_PROTOCOLS) if self.scrape_native_histograms else TEXT_PROTOCOLS

    @property
    def native_histograms(self) -> NativeOptions:
        return NativeOptions(
            self.scrape_native_histograms,
            self.always_scrape_classic_histograms,
            self.native_histogram_bucket_limit,
            self.native_histogram_min_bucket_factor,
        )

    @property
    def timeout_s(self) -> float:
        return self.scrape_timeout or min(10.0, self.scrape_interval)

    @property
    def body_limit(self) -> int:
        return self.body_size_limit or DEFAULT_BODY_LIMIT

    @property
    def escaping(self) -> str:
        """Of names that are not of the old form, asked for in Accept."""
        by_scheme = "allow-utf-8" if self.metric_name_validation_scheme == "utf8" else "underscores"
        return self.metric_name_escaping_scheme or by_scheme


def parse_scrape_configs(raw: Any, *, base: Path, defaults: Mapping[str, Any] | None = None) -> list[ScrapeConfig]:
    """
    `scrape_configs` of a configuration file.

    Args:
        raw: What the YAML holds under that key; None is an empty list.
        base: The configuration file's folder, which relative paths are relative to.
        defaults: The keys of `global`, as the YAML holds them.

    Raises:
        ConfigError: names the job, the key and what is wrong.
    """
    if not isinstance(raw, list | None):
        raise ConfigError(f"scrape_configs must be a list, not {type(raw).__name__}")
    configs: list[ScrapeConfig] = []
    for place, entry in enumerate(raw or []):
        name = entry.get("job_name", place) if isinstance(entry, dict) else place
        try:
            config = ScrapeConfig.model_validate(_with_defaults(entry, defaults or {}))
        except (ValidationError, ValueError) as error:
            raise ConfigError(f"scrape_configs, job {name}: {reason(error)}") from None
        if any(config.job_name == other.job_name for other in configs):
            raise ConfigError(f"scrape_configs, job {name}: there are two jobs of this name")
        configs.append(_resolved(config, base))
    return configs


def _with_defaults(entry: Any, defaults: Mapping[str, Any]) -> Any:
    if not isinstance(entry, dict):
        return entry
    own = {
        name: value
        for name, value in entry.items()
        if not (name in (*INHERITED, "scrape_timeout") and (value in (None, "", "0s", "0") or value == 0))
    }
    inherited = {name: defaults[name] for name in INHERITED if defaults.get(name) is not None}
    if "metric_name_validation_scheme" in own:  # config.go: a job's own scheme does not take the global escaping
        inherited.pop("metric_name_escaping_scheme", None)
    merged = inherited | own
    timeout = defaults.get("scrape_timeout")
    if timeout and "scrape_timeout" not in merged:
        interval = merged.get("scrape_interval", "1m")
        merged["scrape_timeout"] = timeout if duration_s(timeout) <= duration_s(interval) else interval
    return merged


def _resolved(config: ScrapeConfig, base: Path) -> ScrapeConfig:
    files = tuple(
        found.model_copy(update={"files": tuple(str(base / name) for name in found.files)})
        for found in config.file_sd_configs
    )
    asked = tuple(resolved(found, base) for found in config.http_sd_configs)
    changed: ScrapeConfig = resolved(config, base)
    return changed.model_copy(update={"file_sd_configs": files, "http_sd_configs": asked})


def reason(error: Exception) -> str:
    """Without the input, which may hold a secret."""
    if not isinstance(error, ValidationError):
        return str(error)
    problems = []
    for item in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        message = str(item["msg"]).removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key"
        problems.append(f"{where}: {message}" if where else message)
    return "; ".join(problems)
