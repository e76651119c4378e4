"""
Telling the services that apprise knows: Slack, PagerDuty, mail and the like. apprise is imported when one is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from collector.alerts.integration import CONCURRENT_DELIVERIES, RefusedError
from collector.alerts.notification import Notification
from collector.alerts.notification_text import body, subject
from collector.alerts.receiver_config import AppriseConfig, ServiceConfig
from collector.alerts.section import read_secret
from collector.errors import TemporaryError

logger = logging.getLogger(__name__)

# apprise says only whether it went well: a service that is down for seconds must hear, one that refuses must not be
# asked for ever.
ATTEMPTS = 3
RETRY_AFTER_S = 1.0
DELIVERY_TIMEOUT_S = 60.0  # apprise's own time-outs are 4 s to connect and 4 s to read, for each target
# These close what they opened only if it was the same object; after a restart it is left to people.
_REMEMBERING = frozenset({"opsgenie"})
_ENVELOPE = frozenset({"subject", "from", "to"})  # of a mail: set by its keys
MAX_KEPT = 1000  # groups, some kilobytes each

Options = Mapping[str, Any]


class _Quiet(logging.Filter):
    """apprise logs an address that it does not take, secrets and all, and when it is talkative those it does."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING and not getattr(self._thread, "held", False)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """This thread logs nothing of apprise's."""
        self._thread.held = True
        try:
            yield
        finally:
            self._thread.held = False


_QUIET = _Quiet()
logging.getLogger("apprise").addFilter(_QUIET)


class AppriseService:
    def __init__(self, name: str, config: ServiceConfig | AppriseConfig) -> None:
        self.name = name
        self.kind = self.kind_of(config)
        self.send_resolved = config.send_resolved
        self.slots = asyncio.Semaphore(CONCURRENT_DELIVERIES)
        self._config = config
        self._kept: dict[str, Any] = {}  # by group key: the service that knows what it opened

    @staticmethod
    def kind_of(config: ServiceConfig | AppriseConfig) -> str:
        return config.kind.name if isinstance(config, ServiceConfig) else "apprise"

    async def deliver(self, notification: Notification) -> None:
        """
        Raises:
            TemporaryError: a file with a secret cannot be read now, or it took too long.
            RefusedError: the service did not take it, several times.
        """
        for attempt in range(ATTEMPTS):
            try:
                async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                    if await asyncio.to_thread(self._notify, notification):
                        return
            except TimeoutError:
                raise TemporaryError(f"{self.name}: no answer within {DELIVERY_TIMEOUT_S:g} s") from None
            if attempt + 1 < ATTEMPTS:
                await asyncio.sleep(RETRY_AFTER_S * 2**attempt)
        raise RefusedError(f"{self.name}: the service did not take it in {ATTEMPTS} attempts; apprise's log says why")

    def _notify(self, notification: Notification) -> bool:
        import apprise  # some 20 MB, only for who uses it

        firing = any(not one.resolved_at(notification.now_ms) for one in notification.alerts)
        title, text = subject(notification), body(notification)
        if isinstance(self._config, AppriseConfig):
            address: str | dict[str, Any] = self._url(self._config)
        else:
            options = self._config.options
            address = _ADDRESSES[self.kind](options, notification)
            own_subject = [value for name, value in _headers(options).items() if name.lower() == "subject"]
            title = str(options.get(_TITLES.get(self.kind, ""), "") or [*own_subject, title][0])
            text = str(options.get(_TEXTS.get(self.kind, ""), "") or text)
        service = self._kept.get(notification.group_key)
        if service is None:
            with _QUIET.held():
                service = apprise.Apprise.instantiate(address, suppress_exceptions=True)
            if service is None:
                raise RefusedError(f"{self.name}: apprise does not take its configuration")
        if self.kind in _REMEMBERING:
            while len(self._kept) >= MAX_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[notification.group_key] = service
        kind = apprise.NotifyType.FAILURE if firing else apprise.NotifyType.SUCCESS
        return bool(service.notify(body=text, title=title, notify_type=kind))

    def _url(self, config: AppriseConfig) -> str:
        return config.url.get_secret_value() if config.url is not None else _of_file(config.url_file)


def _of_file(path: object) -> str:
    try:
        return read_secret(Path(str(path)))
    except OSError as error:
        raise TemporaryError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise TemporaryError(f"cannot read {path}: {error}") from None


def _secret(options: Options, name: str) -> str:
    return str(options[name]) if options.get(name) else _of_file(options[f"{name}_file"])


def _headers(options: Options) -> dict[str, str]:
    """A mail's own headers; one that says what is said by default anyway is left out."""
    return {name: str(value) for name, value in (options.get("headers") or {}).items() if "{{" not in str(value)}


def _email(options: Options, _notification: Notification) -> dict[str, Any]:
    host, _, port = str(options["smarthost"]).rpartition(":")
    has_password = options.get("auth_password") or options.get("auth_password_file")
    password = _secret(options, "auth_password") if has_password else None
    secure = options.get("require_tls", True)
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
        "headers": {name: value for name, value in _headers(options).items() if name.lower() not in _ENVELOPE},
        "format": "text",
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
        "source": options.get("source") or "Alertmanager",
        "component": options.get("component") or "alerts",
        "group": options.get("group"),
        "class_id": options.get("class"),
        "severity": options.get("severity"),
        "action": "map",  # resolves the incident that it opened
        "dedup": hashlib.sha256(notification.group_key.encode()).hexdigest(),  # as Alertmanager names it
    }


def _opsgenie(options: Options, notification: Notification) -> dict[str, Any]:
    tags = str(options.get("tags") or "")
    return {
        "schema": "opsgenie",
        "targets": None,
        "apikey": _secret(options, "api_key"),
        "alias": hashlib.sha256(notification.group_key.encode()).hexdigest(),
        "priority": options.get("priority"),
        "entity": options.get("entity"),
        "tags": [one.strip() for one in tags.split(",") if one.strip()],
        "action": "map",
    }


def _telegram(options: Options, _notification: Notification) -> dict[str, Any]:
    return {
        "schema": "tgram",
        "bot_token": _secret(options, "bot_token"),
        "targets": [str(options["chat_id"])],
        "silent": bool(options.get("disable_notifications")),
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
        "sound": options.get("sound"),
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


_ADDRESSES: Mapping[str, Callable[[Options, Notification], str | dict[str, Any]]] = {
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
}
# Which key of each kind replaces the default subject and the default text.
_TITLES = {
    "slack": "title", "pagerduty": "description", "opsgenie": "message", "discord": "title", "msteamsv2": "title",
    "pushover": "title", "sns": "subject", "victorops": "entity_display_name",
}  # fmt: skip
_TEXTS = {
    "email": "text", "slack": "text", "opsgenie": "description", "telegram": "message", "discord": "message",
    "msteamsv2": "text", "pushover": "message", "sns": "message", "victorops": "state_message", "wechat": "message",
    "mattermost": "text",
}  # fmt: skip
