"""
The collector's configuration file: Prometheus's keys, and ours beside them.

    global: {scrape_interval, evaluation_interval, external_labels, …}
    rule_files, scrape_configs, scrape_config_files, alerting, otlp     as Prometheus has them
    storage: {tsdb: {out_of_order_time_window, retention}, exemplars}   as Prometheus has it, and of our own
             {retention, metrics_retention}: how long spans and logs, and metrics, are kept;
             {retention_size}: how large the file of spans and logs may become;
             {series_limit, target_series_limit}: how many series in all, and of one target;
             {encryption: {key_file | key_variable}}: storage/encryption_config.py
    alertmanager: {route, receivers, …}         as Alertmanager has them
    alertmanager_file: PATH                     or its own file, unchanged
    limits: {max_body_bytes, max_request_bytes, max_requests, max_bytes_in_flight, max_attributes, max_attribute_bytes}
    redaction: {defaults, card_numbers, keys, values}      pipeline/redaction_config.py
    connectors: {spanmetrics, servicegraph}     pipeline/connectors/config.py
    processors: {tail_sampling}                 pipeline/sampling/config.py

A user's prometheus.yml loads as it is. What has no effect here is named in `warnings`; what would be missed if it were
ignored is refused by name.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from collector.alerts.config import AlertmanagerConfig, ConfigFile, load_config
from collector.alerts.push_config import AlertingConfig, load_alerting
from collector.config_file import checked, read_yaml
from collector.errors import ConfigError
from collector.model.duration import format_duration
from collector.pipeline.connectors.config import ConnectorsConfig
from collector.pipeline.limits_config import LimitsConfig
from collector.pipeline.redaction_config import RedactionConfig
from collector.pipeline.sampling.config import ProcessorsConfig
from collector.receivers.otlp_metrics_config import OtlpConfig
from collector.receivers.scrape_config import (
    Duration,
    Limit,
    ScrapeConfig,
    ScrapeProtocol,
    Size,
    duration_s,
    parse_scrape_configs,
)
from collector.redaction import redacted
from collector.storage.encryption_config import EncryptionConfig

_log = logging.getLogger(__name__)
_DAY_S = 24 * 3600.0
_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|(\$)|([A-Za-z_][A-Za-z0-9_]*|[0-9*#@!?-]))")  # Go, os.Expand
# Prometheus's keys that change nothing that is stored or answered here.
_NO_EFFECT = {
    "runtime": "it tunes Go's garbage collector",
    "tracing": "the collector's own traces are not sent",
    "global.query_log_file": "queries are not logged to a file",
    "global.scrape_failure_log_file": "failed scrapes are shown by /api/v1/targets, not logged to a file",
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GlobalConfig(_Section):
    # Prometheus's defaults (config/config.go, DefaultGlobalConfig).
    scrape_interval: Duration = 60.0
    scrape_timeout: Duration = 10.0
    evaluation_interval: Duration = 60.0
    rule_query_offset: float = Field(default=0.0, ge=0)  # seconds
    external_labels: dict[str, str] = Field(default_factory=dict)
    # Inherited by jobs, see scrape_config.INHERITED.
    scrape_protocols: tuple[ScrapeProtocol, ...] | None = None
    body_size_limit: Size = 0
    sample_limit: Limit = 0
    target_limit: Limit = 0
    label_limit: Limit = 0
    label_name_length_limit: Limit = 0
    label_value_length_limit: Limit = 0
    keep_dropped_targets: Limit = 0
    extra_scrape_metrics: bool = False
    metric_name_validation_scheme: Literal["utf8", "legacy"] = "utf8"
    metric_name_escaping_scheme: Literal["allow-utf-8", "underscores", "dots", "values"] | None = None
    convert_classic_histograms_to_nhcb: Literal[False] = False
    scrape_native_histograms: bool = False
    always_scrape_classic_histograms: bool = False

    @model_validator(mode="before")
    @classmethod
    def _as_prometheus(cls, raw: Any) -> Any:
        """A duration of 0 is an absent one; the timeout is never longer than the interval unless it is said to be."""
        if not isinstance(raw, Mapping):
            return raw
        zero = ("scrape_interval", "scrape_timeout", "evaluation_interval")
        kept = {
            name: value
            for name, value in raw.items()
            if f"global.{name}" not in _NO_EFFECT
            and value is not None
            and not (name in zero and value in ("0", "0s", "", 0))
        }
        if "scrape_timeout" not in kept and "scrape_interval" in kept:
            interval = duration_s(kept["scrape_interval"])
            kept["scrape_timeout"] = kept["scrape_interval"] if interval < 10 else "10s"
        return kept

    @field_validator("rule_query_offset", mode="before")
    @classmethod
    def _offset(cls, value: Any) -> Any:
        return duration_s(value)

    @field_validator("external_labels")
    @classmethod
    def _expanded(cls, labels: dict[str, str]) -> dict[str, str]:
        """`${NAME}` and `$NAME` are the environment's, `$$` is a dollar (config.go, Load)."""

        def variable(match: re.Match[str]) -> str:
            return "$" if match[2] or match[1] == "$" else os.environ.get(match[1] or match[3] or "", "")

        if "" in labels:
            raise ValueError("a label's name is empty")
        return {name: _VARIABLE.sub(variable, value) for name, value in labels.items()}

    @model_validator(mode="after")
    def _timeout(self) -> GlobalConfig:
        if self.scrape_timeout > self.scrape_interval:
            raise ValueError("global scrape timeout greater than scrape interval")
        return self


class TsdbRetention(_Section):
    time: Duration | None = None
    size: Size = 0  # bytes of sealed samples; 0 is no bound


class TsdbConfig(_Section):
    # Seconds; None: the store's own, as remote write and OTLP bring what is late more often than scrapes do.
    out_of_order_time_window: float | None = Field(default=None, ge=0)
    retention: TsdbRetention = TsdbRetention()

    @field_validator("out_of_order_time_window", mode="before")
    @classmethod
    def _window(cls, value: Any) -> Any:
        return duration_s(value)


class ExemplarsConfig(_Section):
    max_exemplars: int | None = None  # of all series together; None: the store's own


class StorageConfig(_Section):
    retention: Duration = 3 * _DAY_S  # spans and logs
    retention_size: Size = 0  # bytes of the file of spans and logs; 0 is no bound
    metrics_retention: Duration = 15 * _DAY_S  # Prometheus's default (--storage.tsdb.retention.time)
    # Series that the metric store takes in all and of one target; None: the store's own limits.
    series_limit: int | None = Field(default=None, gt=0)
    target_series_limit: int | None = Field(default=None, gt=0)
    encryption: EncryptionConfig | None = None
    tsdb: TsdbConfig = TsdbConfig()
    exemplars: ExemplarsConfig = ExemplarsConfig()

    @model_validator(mode="before")
    @classmethod
    def _one_retention(cls, raw: Any) -> Any:
        """Prometheus's own key says the same as ours."""
        if not isinstance(raw, Mapping):
            return raw
        tsdb = raw.get("tsdb")
        retention = tsdb.get("retention") if isinstance(tsdb, dict) else None
        time = retention.get("time") if isinstance(retention, dict) else None
        if time is None:
            return raw
        if "metrics_retention" in raw:
            raise ValueError("both metrics_retention and tsdb.retention.time are given")
        return {**raw, "metrics_retention": time}


class _File(_Section):
    """The top of the file. What other parts own is checked by them."""

    global_: GlobalConfig = Field(default=GlobalConfig(), alias="global")
    rule_files: list[str] = Field(default_factory=list)
    scrape_configs: list[Any] = Field(default_factory=list)
    scrape_config_files: list[str] = Field(default_factory=list)
    alerting: dict[str, Any] = Field(default_factory=dict)
    alertmanager: dict[str, Any] | None = None
    alertmanager_file: str | None = None
    otlp: OtlpConfig = OtlpConfig()
    storage: StorageConfig = StorageConfig()
    limits: LimitsConfig = LimitsConfig()
    redaction: RedactionConfig = RedactionConfig()
    connectors: ConnectorsConfig = ConnectorsConfig()
    processors: ProcessorsConfig = ProcessorsConfig()
    remote_write: list[Any] = Field(default_factory=list)
    remote_read: list[Any] = Field(default_factory=list)
    runtime: dict[str, Any] = Field(default_factory=dict)
    tracing: dict[str, Any] = Field(default_factory=dict)

    @field_validator("remote_write", "remote_read")
    @classmethod
    def _unbuilt(cls, value: list[Any]) -> list[Any]:
        if value:
            raise ValueError("not supported: samples would silently not be where they are expected; remove it")
        return value


@dataclass(frozen=True, slots=True)
class CollectorConfig:
    global_: GlobalConfig
    rule_files: list[str]  # absolute, may be patterns
    scrape_configs: list[ScrapeConfig]
    alertmanager: AlertmanagerConfig | None  # None: alerts are shown, and sent nowhere
    storage: StorageConfig
    limits: LimitsConfig
    redaction: RedactionConfig = field(default_factory=RedactionConfig)
    connectors: ConnectorsConfig = field(default_factory=ConnectorsConfig)
    processors: ProcessorsConfig = field(default_factory=ProcessorsConfig)
    otlp: OtlpConfig = field(default_factory=OtlpConfig)
    alerting: AlertingConfig = field(default_factory=AlertingConfig)
    alertmanager_file: Path | None = None  # where `alertmanager` is from, if it has a file of its own
    warnings: tuple[str, ...] = ()  # what stands in the file and has no effect
    path: Path | None = None  # of the file, to read it again
    text: str = ""  # the file as YAML, without its secrets, for /api/v1/status/config


def load(path: Path) -> CollectorConfig:
    """
    Read a configuration file. Relative rule files and target files are relative to it.

    Raises:
        ConfigError: names the file, and each key with what is wrong with it.
    """
    config = parse(read_yaml(path), source=str(path), directory=path.resolve().parent)
    for warning in config.warnings:
        _log.warning("%s", warning)
    return replace(config, path=path.resolve())


def parse(data: object, *, source: str, directory: Path) -> CollectorConfig:
    """As `load`, of what YAML has read."""
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if value is not None}  # `rule_files:` and nothing after it
    file = checked(_File, {} if data is None else data, source)
    assert isinstance(data, dict | None)  # noqa: S101  (_File takes nothing else)
    raw: dict[str, Any] = data or {}
    scrapes = _scrape_configs(file, raw.get("global") or {}, source, directory)
    alertmanager_file = None if file.alertmanager_file is None else directory / file.alertmanager_file
    alertmanager = _alertmanager(file, alertmanager_file, source, directory)
    return CollectorConfig(
        global_=file.global_,
        rule_files=[str(directory / pattern) for pattern in file.rule_files],
        scrape_configs=scrapes,
        alertmanager=alertmanager,
        alertmanager_file=alertmanager_file,
        storage=file.storage,
        limits=file.limits,
        redaction=file.redaction,
        connectors=file.connectors,
        processors=file.processors,
        otlp=file.otlp,
        alerting=load_alerting(file.alerting, source=f"{source}: alerting", directory=directory),
        warnings=tuple(_warnings(raw, scrapes, source)),
        text=redacted({"global": None} | raw | {"global": _shown_global(file.global_)}),
    )


def _alertmanager(file: _File, path: Path | None, source: str, directory: Path) -> AlertmanagerConfig | None:
    if path is not None and file.alertmanager is not None:
        raise ConfigError(f"{source}: at most one of alertmanager & alertmanager_file must be configured")
    if path is not None:
        return ConfigFile(path).load()
    if file.alertmanager is None:
        return None
    return load_config(file.alertmanager, source=f"{source}: alertmanager", directory=directory)


def _shown_global(section: GlobalConfig) -> dict[str, Any]:
    """What the section amounts to, as one would write it, without what is as it is by default."""
    intervals = ("scrape_interval", "scrape_timeout", "evaluation_interval")
    shown: dict[str, Any] = {name: format_duration(round(getattr(section, name) * 1000)) for name in intervals}
    return shown | section.model_dump(mode="json", exclude_defaults=True, exclude={*intervals, "rule_query_offset"})


def _scrape_configs(file: _File, global_: dict[str, Any], source: str, directory: Path) -> list[ScrapeConfig]:
    try:
        found = parse_scrape_configs(file.scrape_configs, base=directory, defaults=global_)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    for path in _matching(file.scrape_config_files, directory):
        content = read_yaml(path) or {}
        if not isinstance(content, dict) or content.keys() - {"scrape_configs"}:
            raise ConfigError(f"{path}: only scrape_configs may stand here")
        try:
            more = parse_scrape_configs(content.get("scrape_configs"), base=path.resolve().parent, defaults=global_)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        for config in more:
            if any(config.job_name == other.job_name for other in found):
                raise ConfigError(f"{path}: scrape_configs, job {config.job_name}: there are two jobs of this name")
        found += more
    return found


def _matching(patterns: list[str], directory: Path) -> list[Path]:
    return sorted(
        {path for pattern in patterns for path in Path((directory / pattern).parent).glob((directory / pattern).name)}
    )


def _warnings(raw: Mapping[str, Any], scrapes: list[ScrapeConfig], source: str) -> list[str]:
    found = []
    for key, reason in _NO_EFFECT.items():
        section, _, name = key.rpartition(".")
        holder = raw.get(section) or {} if section else raw
        if holder.get(name):
            found.append(f"{source}: {key} has no effect: {reason}")
    for config in scrapes:
        found += [f"{source}: {name} of job {config.job_name} has no effect" for name in config.ignored]
    return found
