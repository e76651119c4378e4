"""The configuration as it may be shown: Alertmanager's keys alone, so that amtool reads it, and no secrets."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml

SECRET = "<secret>"  # noqa: S105  (what Alertmanager writes in their place, and amtool understands)
_OURS = frozenset({"resolve_wait", "apprise_configs"})
# config/config.go and config/notifiers.go: the fields of type Secret and SecretURL.
_SECRET_KEYS = frozenset({
    "password", "credentials", "bearer_token", "client_secret", "key", "auth_password", "auth_secret",
    "smtp_auth_password", "smtp_auth_secret", "api_key", "opsgenie_api_key", "victorops_api_key", "api_secret",
    "wechat_api_secret", "service_key", "bot_token", "user_key", "token", "secret_key", "slack_api_url", "webhook_url",
    "rocketchat_token", "rocketchat_token_id", "token_id", "alert_source_token",
})  # fmt: skip
_SECRET_IN = {"slack_configs": frozenset({"api_url"}), "pagerduty_configs": frozenset({"routing_key"})}
_URL_KEYS = frozenset({"url", "proxy_url"})


def public_text(original: dict[str, Any]) -> str:
    """
    YAML of a configuration.

    Args:
        original: as YAML gave it, checked.
    """
    text: str = yaml.safe_dump(_public(original, frozenset()), sort_keys=False, allow_unicode=True)
    return text


def _public(value: Any, secrets: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [_public(item, secrets) for item in value]
    if not isinstance(value, dict):
        return value
    shown = {}
    for key, item in value.items():
        if key in _OURS or item is None:
            continue
        if key in _SECRET_KEYS | secrets:
            shown[key] = SECRET
        elif key in _URL_KEYS:
            shown[key] = _without_secrets(str(item))
        else:
            shown[key] = _public(item, _SECRET_IN.get(str(key), secrets))
    return shown


def _without_secrets(url: str) -> str:
    """A webhook's URL stays one, for amtool refuses another; user, password and query may be secret."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
