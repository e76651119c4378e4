"""What one replica is told by its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo_services.errors import ConfigurationError
from steersman.runtime.telemetry import instance_of, resource_attributes

HIGHEST_POOL_SIZE = 1000  # far above what one event loop serves
LONGEST_SERVICE_TIME_MS = 60_000.0
LONGEST_QUEUE_TIMEOUT_MS = 60_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    service: str
    instance: str
    host: str = "127.0.0.1"
    port: int = 0  # 0: any free port
    nats_url: str = "nats://127.0.0.1:4222"
    nats_token_file: Path | None = None
    mesh_url: str = "http://127.0.0.1:8081"  # {mesh_url}/cart/… reaches cart's /…
    data_dir: Path = Path(".steersman/shop")
    database_url: str | None = None  # None: one SQLite file for each service in data_dir
    faults_token_file: Path | None = None  # None: faults cannot be set over HTTP
    pool_size: int = 4
    service_time_s: float = 0.02
    queue_timeout_s: float = 2.0
    message_time_s: float = 0.0  # that handling one order's message takes at least
    version: str = "0"
    defect_error_ratio: float = 0.0  # of a build whose handlers fail for so many of the requests

    @classmethod
    def from_environment(cls, service: str, environment: Mapping[str, str] | None = None) -> Settings:
        """
        Raises:
            ConfigurationError: a variable is out of its bounds or not a number; the message names it.
        """
        env = os.environ if environment is None else environment
        return cls(
            service=service,
            instance=instance_of(service, env),
            host=env.get("HOST", "127.0.0.1"),
            port=int(_bounded(env, "PORT", 0, 0, 65535)),
            nats_url=env.get("NATS_URL", "nats://127.0.0.1:4222"),
            nats_token_file=_path(env, "NATS_TOKEN_FILE"),
            mesh_url=env.get("SHOP_MESH_URL", "http://127.0.0.1:8081").rstrip("/"),
            data_dir=Path(env.get("SHOP_DATA_DIR", ".steersman/shop")),
            database_url=env.get("SHOP_DATABASE_URL") or None,
            faults_token_file=_path(env, "SHOP_FAULTS_TOKEN_FILE"),
            pool_size=int(_bounded(env, "SHOP_POOL_SIZE", 4, 1, HIGHEST_POOL_SIZE)),
            service_time_s=_bounded(env, "SHOP_SERVICE_TIME_MS", 20, 0, LONGEST_SERVICE_TIME_MS) / 1000,
            message_time_s=_bounded(env, "SHOP_MESSAGE_TIME_MS", 0, 0, LONGEST_SERVICE_TIME_MS) / 1000,
            version=resource_attributes(env).get("service.version", "0"),
            defect_error_ratio=_bounded(env, "SHOP_DEFECT_ERROR_RATIO", 0, 0, 1),
            queue_timeout_s=_bounded(env, "SHOP_QUEUE_TIMEOUT_MS", 2000, 1, LONGEST_QUEUE_TIMEOUT_MS) / 1000,
        )


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name)
    return Path(text) if text else None


def _bounded(environment: Mapping[str, str], name: str, default: float, lowest: float, highest: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be a number, got {text!r}") from None
    if not lowest <= number <= highest:  # also refuses NaN
        raise ConfigurationError(f"{name} must be from {lowest:g} to {highest:g}, got {text!r}")
    return number
