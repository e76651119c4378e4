"""
The address of a service as apprise takes it, made of Alertmanager's keys.

Options are those of a ServiceConfig, their texts expanded. Each function may raise TemporaryError: a file with a secret
cannot be read now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from collector.alerts.http_config import HttpConfig
from collector.alerts.notification import Notification
from collector.alerts.section import read_secret
from collector.errors import TemporaryError

_ENVELOPE = frozenset({"subject", "from", "to"})  # of a mail: set by its keys
# What PagerDuty is told of the alerts beside the summary (config/notifiers.go, DefaultPagerdutyDetails).
PAGERDUTY_DETAILS = {
    "firing": '{{ template "pagerduty.default.instances" .Alerts.Firing }}',
    "resolved": '{{ template "pagerduty.default.instances" .Alerts.Resolved }}',
    "num_firing": "{{ .Alerts.Firing | len }}",
    "num_resolved": "{{ .Alerts.Resolved | len }}",
}

Options = Mapping[str, Any]
Address = str | dict[str, Any]


def secret_file(path: object) -> str:
    try:
        return read_secret(Path(str(path)))
    except OSError as error:
        raise TemporaryError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise TemporaryError(f"cannot read {path}: {error}") from None


def _secret(options: Options, name: str) -> str:
    return str(options[name]) if options.get(name) else secret_file(options[f"{name}_file"])


def _email(options: Options, _notification: Notification) -> dict[str, Any]:
    host, _, port = str(options["smarthost"]).rpartition(":")
    has_password = options.get("auth_password") or options.get("auth_password_file")
    password = _secret(options, "auth_password") if has_password else None
    secure = options.get("require_tls", True)
    headers = options.get("headers") or {}
    return {
        "schema": "mailtos" if secure else "mailto",
        "secure": bool(secure),
        "host": host,
        "smtp_host": host,
        "port": int(port),
        "user": options.get("auth_username"),
        "password": password,
        "from_addr": str(options["from"]),
        "secure_mode": ("ssl" if port == "465" else "starttls") if secure else "insecure",
        "targets": [one.strip() for one in str(options["to"]).split(",")],
        "headers": {name: value for name, value in headers.items() if name.lower() not in _ENVELOPE},
        "format": "html" if options.get("html") else "text",
    }


def _slack(options: Options, _notification: Notification) -> str:
    url = _secret(options, "api_url")
    channel = str(options.get("channel") or "").lstrip("#")
    token = url.removeprefix("https://hooks.slack.com/services/")
    return f"slack://{token}/#{channel}" if channel and token != url else url


def _pagerduty(options: Options, notification: Notification) -> dict[str, Any]:
    key = _secret(options, "routing_key")
    return {
        "schema": "pagerduty",
        "apikey": key,  # events need the routing key alone, but apprise asks for both
        "integrationkey": key,
        "source": options.get("source") or options["client"],
        "component": options.get("component") or "alerts",  # apprise must have one
        "group": options.get("group"),
        "class_id": options.get("class"),
        "severity": options.get("severity") or "error",  # as Alertmanager, resolved or not
        "action": "map",  # resolves the incident that it opened
        "dedup": hashlib.sha256(notification.group_key.encode()).hexdigest(),  # as Alertmanager names it
        "details": options["details"],
    }


def _opsgenie(options: Options, notification: Notification) -> dict[str, Any]:
    tags = str(options.get("tags") or "")
    return {
        "schema": "opsgenie",
        "targets": None,
        "apikey": _secret(options, "api_key"),
        "alias": hashlib.sha256(notification.group_key.encode()).hexdigest(),
        "priority": options.get("priority") or None,
        "entity": options.get("entity"),
        "details": options.get("details"),
        "tags": [one.strip() for one in tags.split(",") if one.strip()],
        "action": "map",
    }


def _telegram(options: Options, _notification: Notification) -> dict[str, Any]:
    return {
        "schema": "tgram",
        "bot_token": _secret(options, "bot_token"),
        "targets": [str(options["chat_id"])],
        "silent": bool(options.get("disable_notifications")),
        "topic": options.get("message_thread_id") or None,
        "format": "markdown" if str(options.get("parse_mode", "HTML")).startswith("Markdown") else "html",
        "mdv": "v2" if options.get("parse_mode") == "MarkdownV2" else "v1",
        "detect_owner": False,
    }


def _by_webhook_url(options: Options, _notification: Notification) -> str:
    return _secret(options, "webhook_url")


def _mattermost(options: Options, _notification: Notification) -> dict[str, Any]:
    parts = urlsplit(_secret(options, "webhook_url"))
    path, _, token = parts.path.rstrip("/").rpartition("/hooks/")
    secure = parts.scheme == "https"
    return {
        "schema": "mmosts" if secure else "mmost",
        "secure": secure,
        "host": parts.hostname,
        "port": parts.port,
        "fullpath": path or None,
        "token": token,
        "targets": [str(options["channel"])] if options.get("channel") else None,
    }


def _pushover(options: Options, _notification: Notification) -> dict[str, Any]:
    return {
        "schema": "pover",
        "user_key": _secret(options, "user_key"),
        "token": _secret(options, "token"),
        "sound": options.get("sound") or None,
        "supplemental_url": options.get("url") or None,
        "supplemental_url_title": options.get("url_title") or None,
        "format": "html" if options.get("html") else "text",
        "targets": [one for one in str(options.get("device") or "").split(",") if one] or None,
    }


def _sns(options: Options, _notification: Notification) -> dict[str, Any]:
    sigv4 = options["sigv4"] if isinstance(options["sigv4"], dict) else {}
    return {
        "schema": "sns",
        "access_key_id": str(sigv4.get("access_key", "")),
        "secret_access_key": str(sigv4.get("secret_key", "")),
        "region_name": str(sigv4.get("region", "")),
        "targets": [str(options.get("topic_arn", "")).rpartition(":")[2] or str(options.get("phone_number", ""))],
    }


def _victorops(options: Options, notification: Notification) -> dict[str, Any]:
    return {
        "schema": "victorops",
        "apikey": _secret(options, "api_key"),
        "routing_key": str(options["routing_key"]),
        "entity_id": hashlib.sha256(notification.group_key.encode()).hexdigest(),
    }


def _wechat(options: Options, _notification: Notification) -> dict[str, Any]:
    return {
        "schema": "wechat",
        "corpid": str(options["corp_id"]),
        "corpsecret": str(options["api_secret"]),
        "agentid": str(options["agent_id"]),
        "targets": [one for one in str(options.get("to_user") or "@all").split("|") if one],
    }


def _rocketchat(options: Options, _notification: Notification) -> dict[str, Any]:
    parts = urlsplit(str(options["api_url"]))
    return {
        "schema": "rockets" if parts.scheme == "https" else "rocket",
        "secure": parts.scheme == "https",
        "host": parts.hostname,
        "port": parts.port,
        "mode": "token",
        "user": _secret(options, "token_id"),
        "password": _secret(options, "token"),
        "targets": [str(options["channel"])],
    }


def _webex(options: Options, _notification: Notification) -> dict[str, Any]:
    login: HttpConfig = options["http_config"]
    return {
        "schema": "webex",
        "mode": "bot",
        "access_token": login.headers()["Authorization"].partition(" ")[2],
        "targets": [str(options["room_id"])],
    }


ADDRESSES: Mapping[str, Callable[[Options, Notification], Address]] = {
    "email": _email,
    "slack": _slack,
    "pagerduty": _pagerduty,
    "opsgenie": _opsgenie,
    "telegram": _telegram,
    "discord": _by_webhook_url,
    "msteamsv2": _by_webhook_url,
    "mattermost": _mattermost,
    "pushover": _pushover,
    "sns": _sns,
    "victorops": _victorops,
    "wechat": _wechat,
    "rocketchat": _rocketchat,
    "webex": _webex,
}
