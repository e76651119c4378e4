"""
What to scrape: one entry of `scrape_configs` in Prometheus's configuration file.

Source: prometheus.io/docs/prometheus/latest/configuration/configuration, <scrape_config>.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from collector.errors import ConfigError

DEFAULT_INTERVAL_S = 60.0  # Prometheus's global.scrape_interval and scrape_timeout
DEFAULT_TIMEOUT_S = 10.0
# Prometheus sets no limit by default; a page of ours is some 50 KB, and a broken peer must not fill the memory.
DEFAULT_BODY_LIMIT = 32 * 1024 * 1024

# Keys of Prometheus that are valid and not built: refused by name, as ignoring them would scrape the wrong thing.
UNSUPPORTED = frozenset({
    "relabel_configs", "metric_relabel_configs", "basic_auth", "oauth2", "tls_config", "proxy_url",
    "proxy_from_environment", "no_proxy", "proxy_connect_header", "http_headers", "label_limit",
    "label_name_length_limit", "label_value_length_limit", "target_limit", "keep_dropped_targets",
    "scrape_classic_histograms", "always_scrape_classic_histograms", "convert_classic_histograms_to_nhcb",
    "native_histogram_bucket_limit", "native_histogram_min_bucket_factor", "scrape_protocols",
    "fallback_scrape_protocol", "scrape_failure_log_file", "track_timestamps_staleness", "enable_compression",
    "enable_http2", "metric_name_validation_scheme", "metric_name_escaping_scheme", "azure_sd_configs",
    "consul_sd_configs", "digitalocean_sd_configs", "docker_sd_configs", "dockerswarm_sd_configs", "dns_sd_configs",
    "ec2_sd_configs", "eureka_sd_configs", "gce_sd_configs", "hetzner_sd_configs", "http_sd_configs",
    "ionos_sd_configs", "kubernetes_sd_configs", "kuma_sd_configs", "lightsail_sd_configs", "linode_sd_configs",
    "marathon_sd_configs", "nerve_sd_configs", "nomad_sd_configs", "openstack_sd_configs", "ovhcloud_sd_configs",
    "puppetdb_sd_configs", "scaleway_sd_configs", "serverset_sd_configs", "triton_sd_configs", "uyuni_sd_configs",
    "vultr_sd_configs", "stackit_sd_configs",
})  # fmt: skip
_DURATION = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)  # model/duration.go
_DURATION_S = (365 * 86_400, 7 * 86_400, 86_400, 3_600, 60, 1, 0.001)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTPE]i?)?B?", re.ASCII)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def duration_s(text: Any) -> float:
    """
    Seconds of a duration such as `1s`, `500ms` or `1m30s`; a number is taken as seconds.

    Raises:
        ValueError: neither.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 15s or 1m30s")
    return float(sum(int(part) * unit for part, unit in zip(match.groups(), _DURATION_S, strict=True) if part))


def _size_bytes(text: Any) -> Any:
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return text
    power = "KMGTPE".index(match[2][0]) + 1 if match[2] else 0
    return int(float(match[1]) * 1024**power)  # Prometheus's units.Base2Bytes: KB and KiB are both 1024


Duration = Annotated[float, BeforeValidator(duration_s), Field(gt=0)]
Size = Annotated[int, BeforeValidator(_size_bytes), Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StaticConfig(_Strict):
    """A group of targets: in the file itself, and in each file of file discovery."""

    targets: list[str]
    labels: dict[str, str] = {}

    @model_validator(mode="after")
    def _names(self) -> StaticConfig:
        for name in self.labels:
            if not _LABEL_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a label name")
        return self


class FileDiscoveryConfig(_Strict):
    files: list[str] = Field(min_length=1)  # only the last part of a path may have *
    refresh_interval: Duration = 300.0  # accepted as Prometheus has it; files are looked at twice a second anyway

    @model_validator(mode="after")
    def _suffixes(self) -> FileDiscoveryConfig:
        for name in self.files:
            if not name.endswith((".json", ".yml", ".yaml")):
                raise ValueError(f"file {name!r} must end in .json, .yml or .yaml")
        return self


class Authorization(_Strict):
    type: str = "Bearer"
    credentials: SecretStr | None = None
    credentials_file: Path | None = None  # read at each scrape, so a rotated token takes effect

    @model_validator(mode="after")
    def _one(self) -> Authorization:
        if (self.credentials is None) == (self.credentials_file is None):
            raise ValueError("exactly one of credentials and credentials_file is needed")
        if self.type.strip().lower() == "basic":
            raise ValueError('type "basic" is not allowed, as in Prometheus')
        return self


class ScrapeConfig(_Strict):
    job_name: str = Field(min_length=1)
    scrape_interval: Duration = DEFAULT_INTERVAL_S
    scrape_timeout: Duration | None = None  # none: DEFAULT_TIMEOUT_S, or the interval if that is shorter
    metrics_path: str = "/metrics"
    scheme: Literal["http", "https"] = "http"
    params: dict[str, list[str]] = {}
    honor_labels: bool = False
    honor_timestamps: bool = True
    follow_redirects: bool = True
    static_configs: list[StaticConfig] = []
    file_sd_configs: list[FileDiscoveryConfig] = []
    authorization: Authorization | None = None
    sample_limit: int = Field(default=0, ge=0)  # 0 is none, as in Prometheus
    body_size_limit: Size = 0  # of the unpacked body; 0 is DEFAULT_BODY_LIMIT here

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        refused = sorted(UNSUPPORTED & raw.keys())
        if refused:
            raise ValueError(f"not supported yet: {', '.join(refused)}")
        raw = dict(raw)
        token_file = raw.pop("bearer_token_file", None)  # the older way to write it
        if token_file is not None:
            if "authorization" in raw:
                raise ValueError("both authorization and bearer_token_file are given")
            raw["authorization"] = {"credentials_file": token_file}
        return raw

    @model_validator(mode="after")
    def _timeout(self) -> ScrapeConfig:
        if self.scrape_timeout is not None and self.scrape_timeout > self.scrape_interval:
            raise ValueError(
                f"scrape_timeout {self.scrape_timeout:g} s is longer than scrape_interval {self.scrape_interval:g} s"
            )
        return self

    @property
    def timeout_s(self) -> float:
        return self.scrape_timeout or min(DEFAULT_TIMEOUT_S, self.scrape_interval)

    @property
    def body_limit(self) -> int:
        return self.body_size_limit or DEFAULT_BODY_LIMIT


def parse_scrape_configs(
    raw: Any, *, base: Path, interval: Any = DEFAULT_INTERVAL_S, timeout: Any = None
) -> list[ScrapeConfig]:
    """
    `scrape_configs` of a configuration file.

    Args:
        raw: What the YAML holds under that key; None is an empty list.
        base: The configuration file's folder, which relative paths are relative to.
        interval, timeout: `global.scrape_interval` and `global.scrape_timeout`, if the file has them.

    Raises:
        ConfigError: names the job, the key and what is wrong.
    """
    if not isinstance(raw, list | None):
        raise ConfigError(f"scrape_configs must be a list, not {type(raw).__name__}")
    configs: list[ScrapeConfig] = []
    for place, entry in enumerate(raw or []):
        name = entry.get("job_name", place) if isinstance(entry, dict) else place
        try:
            config = ScrapeConfig.model_validate(_with_defaults(entry, interval, timeout))
        except (ValidationError, ValueError) as error:
            raise ConfigError(f"scrape_configs, job {name}: {_reason(error)}") from error
        if any(config.job_name == other.job_name for other in configs):
            raise ConfigError(f"scrape_configs, job {name}: there are two jobs of this name")
        configs.append(_resolved(config, base))
    return configs


def _with_defaults(entry: Any, interval: Any, timeout: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    entry = {"scrape_interval": interval} | entry
    if timeout is not None and "scrape_timeout" not in entry:
        entry["scrape_timeout"] = min(duration_s(timeout), duration_s(entry["scrape_interval"]))
    return entry


def _resolved(config: ScrapeConfig, base: Path) -> ScrapeConfig:
    files = [
        found.model_copy(update={"files": [str(base / name) for name in found.files]})
        for found in config.file_sd_configs
    ]
    authorization = config.authorization
    if authorization is not None and authorization.credentials_file is not None:
        path = base / authorization.credentials_file
        authorization = authorization.model_copy(update={"credentials_file": path})
    return config.model_copy(update={"file_sd_configs": files, "authorization": authorization})


def _reason(error: Exception) -> str:
    """Without the input, which may hold a secret."""
    if not isinstance(error, ValidationError):
        return str(error)
    first: Sequence[Any] = error.errors(include_input=False, include_url=False)[:1]
    where = ".".join(str(part) for part in first[0]["loc"])
    message = str(first[0]["msg"]).removeprefix("Value error, ")
    if first[0]["type"] == "extra_forbidden":
        message = "unknown key"
    return f"{where}: {message}" if where else message
