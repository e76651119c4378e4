"""Reading a configuration file: YAML, checked by a model, each mistake said with its file and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from collector.errors import ConfigError

_Model = TypeVar("_Model", bound=BaseModel)


def read_yaml(path: Path) -> Any:
    """
    Raises:
        ConfigError: names the file; it cannot be read, or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error


def checked(model: type[_Model], data: object, source: str) -> _Model:
    """
    Raises:
        ConfigError: names `source`, and each key with what is wrong with it.
    """
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
