"""The base of every part of the alerts' configuration: it tells keys that are not built from keys that nobody knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, model_validator
from pydantic_core import ErrorDetails

from collector.model.duration import parse_duration_ms

MAX_SECRET_FILE = 64 * 1024  # a token or a URL; more is another file


def _duration(value: object) -> object:
    return parse_duration_ms(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else value


def _path(value: object, info: ValidationInfo) -> object:
    """Relative paths are relative to the folder of the configuration file, as Alertmanager and Prometheus take them."""
    directory = (info.context or {}).get("directory")
    return Path(directory, value) if directory is not None and isinstance(value, str) else value


def http_url(url: str) -> str:
    """Raises ValueError, worded as Go words it: neither http nor https, or no host."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"unsupported URL: unsupported scheme {parts.scheme!r} for URL")
    if not parts.hostname:
        raise ValueError("unsupported URL: missing host for URL")
    return url


DurationMs = Annotated[int, BeforeValidator(_duration)]
FilePath = Annotated[Path, BeforeValidator(_path)]
HttpUrl = Annotated[str, AfterValidator(http_url)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    unbuilt: ClassVar[frozenset[str]] = frozenset()  # keys of the peers that are valid and not built

    @model_validator(mode="before")
    @classmethod
    def _keys_are_built(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        for key in data:
            if key in cls.unbuilt:
                raise ValueError(f"{key!r} is a key of Alertmanager that is not built yet")
            if key not in known:
                raise ValueError(f"field {key!r} is not known")
        # `matchers:` and nothing after it counts as not given, as it does in Go.
        return {key: value for key, value in data.items() if value is not None}


def at_most_one(section: BaseModel, *names: str) -> None:
    """Raises ValueError if more than one of these keys is given, worded as Alertmanager words it."""
    if sum(bool(getattr(section, name)) for name in names) > 1:
        raise ValueError(f"at most one of {' & '.join(names)} must be configured")


def worded(problem: ErrorDetails) -> str:
    """One line: which key, and what is wrong with it. Never the value, which may be a secret."""
    where = ".".join(map(str, problem["loc"])) or "configuration"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"


def read_secret(path: Path) -> str:
    """
    What a file holds, without the spaces around it.

    Raises:
        OSError: it cannot be read; ValueError: it is empty, too long, or more than one line of printable ASCII. Neither
            message holds anything of the content.
    """
    with path.open("rb") as file:
        content = file.read(MAX_SECRET_FILE + 1)
    if len(content) > MAX_SECRET_FILE:
        raise ValueError(f"longer than the limit of {MAX_SECRET_FILE} bytes")
    text = content.decode("ascii", errors="replace").strip()
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError("not one line of printable ASCII")
    return text
