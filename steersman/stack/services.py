"""The services file: which services the shop has, how many replicas, and how one is started."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from steersman.errors import ServicesFileError
from steersman.orchestrator.service import ServiceSpec

# A name becomes a path at the gateway, a file name and a label: RFC 1123's rule for DNS labels fits all three.
NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_VERSION = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$"
_ZONE = r"^[a-z][a-z0-9-]{0,30}$"
_Value = str | int | float | bool
MOST_REPLICAS = 100  # of one service; four hundred ports are set aside for all


class _Service(BaseModel):
    model_config = ConfigDict(extra="forbid")
    command: list[str] = Field(min_length=1)
    minimum: int = Field(default=1, ge=0)
    maximum: int = Field(default=1, ge=1, le=MOST_REPLICAS)
    desired: int | None = None  # the minimum, if not given
    public: bool = False
    env: dict[str, _Value] = Field(default_factory=dict)
    version: str | None = Field(default=None, pattern=_VERSION)
    versions: dict[Annotated[str, StringConstraints(pattern=_VERSION)], dict[str, _Value]] = Field(
        default_factory=dict, max_length=100
    )
    zones: tuple[Annotated[str, StringConstraints(pattern=_ZONE)], ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _known_version(self) -> _Service:
        if self.version is not None and self.version not in self.versions:
            raise ValueError(f"version {self.version!r} is none of versions: {', '.join(self.versions) or 'none'}")
        if self.version is None and self.versions:
            raise ValueError("versions are given, but not the version to start with")
        if len(set(self.zones)) != len(self.zones):
            raise ValueError(f"a zone is given twice: {', '.join(self.zones)}")
        return self

    @model_validator(mode="after")
    def _within_bounds(self) -> _Service:
        desired = self.minimum if self.desired is None else self.desired
        if not self.minimum <= desired <= self.maximum:
            raise ValueError(f"desired {desired} is outside minimum {self.minimum}..maximum {self.maximum}")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    services: dict[str, _Service] = Field(min_length=1)


def shop_services_file() -> Path:
    """The one that ships with the shop."""
    found = importlib.util.find_spec("demo_services")
    if found is None or not found.submodule_search_locations:
        raise ServicesFileError("the package demo_services is not installed")
    return Path(found.submodule_search_locations[0]) / "services.yaml"


def load_services(path: Path) -> list[ServiceSpec]:
    """
    Raises:
        ServicesFileError: unreadable, not YAML, or not what it must say; names the key.
    """
    try:
        parsed = _File.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ServicesFileError(f"cannot read services file {path}: {_one_line(error)}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ServicesFileError(f"{path}: {where or 'top'}: {first['msg']}") from error
    for name in parsed.services:
        if not NAME.fullmatch(name):
            raise ServicesFileError(f"{path}: service name {name!r} must match {NAME.pattern}")
    return [_spec(name, service) for name, service in parsed.services.items()]


def _spec(name: str, service: _Service) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        command=tuple(service.command),
        minimum=service.minimum,
        maximum=service.maximum,
        desired=service.minimum if service.desired is None else service.desired,
        public=service.public,
        env=_texts(service.env),
        version=service.version or "",
        versions={name: _texts(env) for name, env in service.versions.items()},
        zones=service.zones,
    )


def _texts(env: Mapping[str, _Value]) -> dict[str, str]:
    return {key: _text(value) for key, value in env.items()}


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
