"""
An agent's configuration file, of which all has a default.

    forward:
      signals: [traces, metrics, logs]     # others are refused
      compression: gzip                    # gzip, zstd (HTTP only), none
      timeout: 10s                         # of one try
      queue_size: 1GiB                     # on disk, of each signal
      bytes_per_second: 16MiB              # at most, of each signal, before they are packed
      requests_in_flight: 16               # at once, of traces and of logs; metrics are sent one after the other
    limits: {max_body_bytes, max_request_bytes, max_requests, max_bytes_in_flight}      as the collector's
    redaction: {defaults, card_numbers, keys, values}                                   as the collector's
    storage: {encryption: {key_file | key_variable}}                                    as the collector's
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from collector.config_file import checked, read_yaml
from collector.forward.destination import Compression
from collector.pipeline.limits_config import LimitsConfig
from collector.pipeline.redaction_config import RedactionConfig
from collector.receivers.otlp_ingest import Signal
from collector.receivers.scrape_config import Duration, Size
from collector.storage.encryption_config import EncryptionConfig


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ForwardConfig(_Section):
    signals: list[Signal] = Field(default_factory=lambda: list(Signal), min_length=1)
    compression: Compression = "gzip"
    timeout: Duration = 10.0  # an SDK's own
    # A day of 400 spans a second (docs/agent.md).
    queue_size: Size = Field(default=1 << 30, ge=1 << 16)
    # What one core of a collector stores: 50,000 spans a second of some 330 bytes (docs/benchmarks.md).
    bytes_per_second: Size = Field(default=16 << 20, ge=1 << 10)
    # A quarter of what a collector works on at once by default, so that others are served while an agent catches up.
    requests_in_flight: int = Field(default=16, ge=1, le=64)


class StorageConfig(_Section):
    encryption: EncryptionConfig | None = None


class AgentConfig(_Section):
    forward: ForwardConfig = ForwardConfig()
    limits: LimitsConfig = LimitsConfig()
    redaction: RedactionConfig = RedactionConfig()
    storage: StorageConfig = StorageConfig()


def load_agent_config(path: Path | None) -> AgentConfig:
    """
    Args:
        path: None: the defaults.

    Raises:
        ConfigError: names the file, and each key with what is wrong with it.
    """
    if path is None:
        return AgentConfig()
    data = read_yaml(path)
    return checked(AgentConfig, {} if data is None else data, str(path))
