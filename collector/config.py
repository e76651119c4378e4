"""
The collector's configuration file: Prometheus's keys, and ours beside them.

    global: {scrape_interval, scrape_timeout, evaluation_interval, external_labels}
    rule_files, scrape_configs                  as Prometheus has them
    alertmanager: {route, receivers}            as Alertmanager has them
    storage: {retention, metrics_retention}     how long spans and logs, and metrics, are kept
    limits: {max_body_bytes, max_request_bytes, max_requests, max_bytes_in_flight}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from collector.alerts.config import AlertmanagerConfig, load_config
from collector.errors import ConfigError
from collector.model.duration import parse_duration_ms
from collector.pipeline.admission import Limits
from collector.receivers.scrape_config import ScrapeConfig, parse_scrape_configs

_MS_PER_S = 1000
_DAY_S = 24 * 3600.0
_Model = TypeVar("_Model", bound=BaseModel)


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("a duration such as 15s, 1m30s or 6h is needed")
    return parse_duration_ms(value) / _MS_PER_S


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GlobalConfig(_Section):
    # Prometheus's defaults (config/config.go, DefaultGlobalConfig).
    scrape_interval: Seconds = 60.0
    scrape_timeout: Seconds = 10.0
    evaluation_interval: Seconds = 60.0
    external_labels: dict[str, str] = {}


class StorageConfig(_Section):
    retention: Seconds = 3 * _DAY_S  # spans and logs
    metrics_retention: Seconds = 15 * _DAY_S  # Prometheus's default (--storage.tsdb.retention.time)


_DEFAULT = Limits()


class LimitsConfig(_Section):
    max_body_bytes: int = Field(default=_DEFAULT.max_body_bytes, gt=0)
    max_request_bytes: int = Field(default=_DEFAULT.max_request_bytes, gt=0)
    max_requests: int = Field(default=_DEFAULT.max_requests, gt=0)
    max_bytes_in_flight: int = Field(default=_DEFAULT.max_bytes_in_flight, gt=0)

    def limits(self) -> Limits:
        return Limits(**self.model_dump())


class _File(_Section):
    """The top of the file. What other parts own is checked by them."""

    global_: GlobalConfig = Field(default=GlobalConfig(), alias="global")
    rule_files: list[str] = []
    scrape_configs: list[dict[str, Any]] = []
    alertmanager: dict[str, Any] | None = None
    storage: StorageConfig = StorageConfig()
    limits: LimitsConfig = LimitsConfig()


@dataclass(frozen=True, slots=True)
class CollectorConfig:
    global_: GlobalConfig
    rule_files: list[str]  # absolute, may be patterns
    scrape_configs: list[ScrapeConfig]
    alertmanager: AlertmanagerConfig | None  # None: alerts are shown, and sent nowhere
    storage: StorageConfig
    limits: LimitsConfig


def load(path: Path) -> CollectorConfig:
    """
    Read a configuration file. Relative rule files and target files are relative to it.

    Raises:
        ConfigError: names the file, and each key with what is wrong with it.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return parse(yaml.safe_load(text), source=str(path), directory=path.resolve().parent)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error


def parse(data: object, *, source: str, directory: Path) -> CollectorConfig:
    """As `load`, of what YAML has read."""
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if value is not None}  # `rule_files:` and nothing after it
    file = _checked(_File, {} if data is None else data, source)
    try:
        scrapes = parse_scrape_configs(
            file.scrape_configs,
            base=directory,
            interval=file.global_.scrape_interval,
            timeout=file.global_.scrape_timeout,
        )
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    alertmanager = file.alertmanager
    return CollectorConfig(
        global_=file.global_,
        rule_files=[str(directory / pattern) for pattern in file.rule_files],
        scrape_configs=scrapes,
        alertmanager=None if alertmanager is None else load_config(alertmanager, source=f"{source}: alertmanager"),
        storage=file.storage,
        limits=file.limits,
    )


def _checked(model: type[_Model], data: object, source: str) -> _Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(problems(error, source)) from None


def problems(error: ValidationError, source: str) -> str:
    """One line for each problem: file, key, what is wrong."""
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in item["loc"]) or "the file"
        what = "unknown key" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        lines.append(f"{source}: {key}: {what}")
    return "\n".join(lines)
