"""
Telling the services that apprise knows: Slack, PagerDuty, mail and the like. apprise is imported when one is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from collector.alerts.integration import CONCURRENT_DELIVERIES, RefusedError
from collector.alerts.notification import Notification
from collector.alerts.notification_template import NotificationTemplates
from collector.alerts.receiver_config import AppriseConfig, ServiceConfig
from collector.alerts.service_address import ADDRESSES, PAGERDUTY_DETAILS, Address, secret_file
from collector.alerts.template_data import template_data
from collector.errors import TemporaryError
from collector.gotemplate.tree import TemplateError

logger = logging.getLogger(__name__)

# apprise says only whether it went well: a service that is down for seconds must hear, one that refuses must not be
# asked for ever.
ATTEMPTS = 3
RETRY_AFTER_S = 1.0
DELIVERY_TIMEOUT_S = 60.0  # apprise's own time-outs are 4 s to connect and 4 s to read, for each target
# These close what they opened only if it was the same object; after a restart it is left to people.
_REMEMBERING = frozenset({"opsgenie"})
DEFAULT_SUBJECT = '{{ template "email.default.subject" . }}'
MAX_KEPT = 1000  # groups, some kilobytes each


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


@dataclass(frozen=True, slots=True)
class _Message:
    """What is told, all templates expanded."""

    options: Mapping[str, Any]
    title: str
    body: str
    body_format: str | None = None  # None: sent as it is


class AppriseService:
    def __init__(self, name: str, config: ServiceConfig | AppriseConfig, templates: NotificationTemplates) -> None:
        self.name = name
        self.kind = self.kind_of(config)
        self.send_resolved = config.send_resolved
        self.slots = asyncio.Semaphore(CONCURRENT_DELIVERIES)
        self._config = config
        self._templates = templates
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
        message = self._message(notification)
        service = self._kept.get(notification.group_key)
        if service is None:
            address = self._address(message, notification)
            with _QUIET.held():
                service = apprise.Apprise.instantiate(address, suppress_exceptions=True)
            if service is None:
                raise RefusedError(f"{self.name}: apprise does not take its configuration")
        if self.kind in _REMEMBERING:
            while len(self._kept) >= MAX_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[notification.group_key] = service
        kind = apprise.NotifyType.FAILURE if firing else apprise.NotifyType.SUCCESS
        # apprise sends nothing for an empty body; Alertmanager sends the title alone.
        title, body = (message.title, message.body) if message.body.strip() else ("", message.title)
        return bool(service.notify(body=body, title=title, notify_type=kind, body_format=message.body_format))

    def _message(self, notification: Notification) -> _Message:
        expand = _Expansion(self.name, self._templates, notification)
        if isinstance(self._config, AppriseConfig):
            return _Message({}, expand.text("title", self._config.title), expand.text("text", self._config.text))
        kind, options = self._config.kind, self._config.options
        texts = {key: str(options.get(key, default)) for key, default in kind.texts.items()}
        html = html_key(kind.name, options)
        shown: dict[str, Any] = {key: expand.text(key, text) for key, text in texts.items() if key != html}
        if html is not None:
            shown[html] = expand.html(html, texts[html])
        mappings = {key: dict(options.get(key) or {}) for key in kind.mappings}
        if kind.name == "pagerduty":
            mappings["details"] = PAGERDUTY_DETAILS | mappings["details"]
        for key, pairs in mappings.items():
            shown[key] = {name: expand.text(f"{key}.{name}", str(text)) for name, text in pairs.items()}
        title = shown[kind.title] if kind.title is not None else ""
        if kind.name == "email":
            own = [value for name, value in shown["headers"].items() if name.lower() == "subject"]
            title = [*own, expand.text("subject", DEFAULT_SUBJECT)][0]
        body = (shown[html] if html is not None else "") or shown[kind.text]
        if kind.name == "telegram" and not options.get("parse_mode", "HTML"):
            body = escape(body, quote=False)  # apprise knows no plain text there
        return _Message(dict(options) | shown, title, body, _body_format(kind.name, shown.get(html or "")))

    def _address(self, message: _Message, notification: Notification) -> Address:
        if isinstance(self._config, AppriseConfig):
            return self._url(self._config)
        return ADDRESSES[self.kind](message.options, notification)

    def _url(self, config: AppriseConfig) -> str:
        return config.url.get_secret_value() if config.url is not None else secret_file(config.url_file)


def html_key(kind: str, options: Mapping[str, Any]) -> str | None:
    """Which text of a service is HTML, if one is."""
    if kind == "email":
        return "html"
    if kind == "telegram" and options.get("parse_mode", "HTML") == "HTML":
        return "message"
    return "message" if kind == "pushover" and options.get("html") else None


def _body_format(kind: str, html: str | None) -> str | None:
    """What apprise is to take the body for; None: for what the service shows, with nothing converted."""
    if kind == "email":
        return "html" if html else "text"
    return "text" if kind == "pushover" and html is None else None


class _Expansion:
    """Of the templates of one notification."""

    def __init__(self, name: str, templates: NotificationTemplates, notification: Notification) -> None:
        self._name = name
        self._templates = templates
        self._data = template_data(notification)
        self._now_ms = notification.now_ms

    def text(self, key: str, text: str) -> str:
        return self._expanded(key, text, self._templates.text)

    def html(self, key: str, text: str) -> str:
        return self._expanded(key, text, self._templates.html)

    def _expanded(self, key: str, text: str, expand: Callable[..., str]) -> str:
        try:
            return expand(text, self._data, now_ms=self._now_ms)
        except TemplateError as error:
            raise RefusedError(f"{self._name}: {key}: {error}") from error
