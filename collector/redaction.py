"""A configuration as it may be shown: without passwords, tokens and keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml

SECRET = "<secret>"  # noqa: S105  (as Prometheus and Alertmanager print one)
# Prometheus's and Alertmanager's keys that hold a secret. A key that ends in _file or _ref holds a path or a name.
_SECRET_KEY = re.compile(r"(?:.*_)?(?:password|credentials|secrets?|token|key|webhook_url|api_url)")
# Names under these are the user's own and say nothing of what they hold.
_NAMES = frozenset({"labels", "external_labels", "params", "match", "match_re", "source_match", "target_match"})
# Everything under these may carry a secret in its address: apprise's and webhooks' URLs hold tokens.
_URL_KEYS = frozenset({"url", "urls", "webhook_url", "api_url", "slack_api_url"})


def redacted(raw: Mapping[str, Any]) -> str:
    """
    A configuration file's content as YAML.

    Keys that hold secrets show `<secret>`, and so do the URLs of notification receivers, as in Alertmanager; other URLs
    lose their password.
    """
    return yaml.safe_dump(_shown(raw, under=()), sort_keys=False, allow_unicode=True)


def _shown(value: Any, under: tuple[str, ...]) -> Any:
    key = under[-1] if under else ""
    if isinstance(value, Mapping):
        return {name: _shown(item, (*under, str(name))) for name, item in value.items()}
    if under[-2:-1] and under[-2] in _NAMES:
        return list(value) if isinstance(value, tuple) else value
    if _SECRET_KEY.fullmatch(key) and value not in (None, ""):
        return SECRET
    if isinstance(value, list | tuple):
        return [_shown(item, under) for item in value]
    if isinstance(value, str) and key in _URL_KEYS and "alertmanager" in under:
        return SECRET
    return without_password(value) if isinstance(value, str) and "://" in value else value


def without_password(text: str) -> str:
    """A URL as it may be logged; what is no URL stays as it is."""
    try:
        parts = urlsplit(text)
        if parts.password is None:
            return text
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{parts.username}:xxxxx@{host}"))  # as Go's url.Redacted
    except ValueError:
        return text
