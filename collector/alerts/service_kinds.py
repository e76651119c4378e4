"""
The receivers of Alertmanager that go out through apprise: their keys, what they need, and what `global` gives them.

A key is a text, which may be a template; or `plain`; or it is an `ornament`: valid, but apprise's service has no
counterpart (a colour, an icon); such keys are named once in the log when the configuration is loaded. What would change
where a notification goes, or who sees it, is none of these: it is refused by name.

Source: alertmanager/config/notifiers.go.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKind:
    name: str
    texts: Mapping[str, str]  # by key: Alertmanager's default, a template
    plain: frozenset[str]
    title: str | None = None  # which of the texts the service shows as its title
    text: str  # and which as the text below it
    mappings: frozenset[str] = frozenset()  # of texts
    ornaments: frozenset[str] = frozenset()
    needs: tuple[tuple[str, ...], ...] = ()  # of each tuple one key, here or in `global`
    only_one: tuple[tuple[str, ...], ...] = ()  # of each tuple one key at most
    from_global: Mapping[str, str] | None = None  # key here: key in `global`
    address: tuple[str, str, str] | None = None  # key here, key in `global`, and the only URL that apprise knows
    root_url: str | None = None  # a key whose URL is a host, for apprise knows no path there
    send_resolved: bool = True

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """
        Raises:
            ValueError: a key that is unknown, not built, or given twice over.
        """
        options = {key: value for key, value in options.items() if value is not None}  # as Go: not given
        used = self.plain | self.mappings | self.texts.keys()
        for key, value in options.items():
            if self.address is not None and key == self.address[0]:
                self._check_address(value)
            elif key not in used | self.ornaments:
                raise ValueError(f"field {key!r} is not known in {self.name}_configs, or not built yet")
            elif key in self.mappings and not isinstance(value, dict):
                raise ValueError(f"{self.name}_configs: {key} is a mapping")
            elif key in self.texts and isinstance(value, dict | list):
                raise ValueError(f"{self.name}_configs: {key} is text")
        for group in self.only_one:
            if sum(bool(options.get(key)) for key in group) > 1:
                raise ValueError(f"at most one of {' & '.join(group)} must be configured")
        for group in self.needs:
            inherited = self.from_global or {}
            if not any(options.get(key) for key in group) and not any(key in inherited for key in group):
                raise ValueError(f"missing {' or '.join(group)} in {self.name} config")
        if ignored := sorted(self.ornaments & {key for key, value in options.items() if value}):
            logger.warning("%s_configs: without effect here: %s", self.name, ", ".join(ignored))
        return {key: value for key, value in options.items() if key in used}

    def templates(self, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Every text that may be a template, with its key."""
        for key, default in self.texts.items():
            yield key, str(options.get(key, default))
        for key in self.mappings:
            for name, value in (options.get(key) or {}).items():
                yield f"{key}.{name}", str(value)

    def filled(self, options: Mapping[str, Any], global_: Mapping[str, Any]) -> dict[str, Any]:
        """With what `global` gives. Raises ValueError: what is needed is in neither."""
        if self.address is not None:
            self._check_address(global_.get(self.address[1]))
        given = dict(options)
        for group in self.needs:
            if any(given.get(key) for key in group):
                continue
            for key in group:
                if value := global_.get((self.from_global or {}).get(key, "")):
                    given[key] = value
            if not any(given.get(key) for key in group):
                wanted = " or ".join((self.from_global or {}).get(key, key) for key in group)
                raise ValueError(f"no global {wanted} set for {self.name}_configs")
        for key, name in (self.from_global or {}).items():
            if key not in given and not any(key in group for group in self.needs) and global_.get(name) is not None:
                given[key] = global_[name]
        if self.root_url is not None:
            self._check_root(str(given[self.root_url]))
        return given

    def _check_address(self, url: object) -> None:
        """Another address would be ignored, and the notification go where nobody meant it to go."""
        assert self.address is not None  # noqa: S101  (asked before)
        if url is not None and str(url).rstrip("/") != self.address[2].rstrip("/"):
            raise ValueError(f"{self.name}_configs: another address than {self.address[2]} is not built yet")

    def _check_root(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{self.name}_configs: {self.root_url} is http:// or https://, a host and nothing more")


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _default(name: str) -> str:
    """The text of one of the default templates."""
    return f'{{{{ template "{name}" . }}}}'


def _texts(service: str, named: str, others: str = "") -> dict[str, str]:
    """`named` have a default template of their own, such as `slack.default.title`; of `others` it is empty."""
    defaults = {key: _default(f"{service}.default.{key}") for key in named.split()}
    return defaults | dict.fromkeys(others.split(), "")


KINDS: dict[str, ServiceKind] = {
    kind.name: kind
    for kind in (
        ServiceKind(
            name="email",
            texts=_texts("email", "html", "to from text"),
            plain=_keys("smarthost auth_username auth_password auth_password_file require_tls"),
            text="text",
            mappings=_keys("headers"),
            ornaments=_keys("hello auth_identity"),
            needs=(("to",), ("smarthost",), ("from",)),
            only_one=(("auth_password", "auth_password_file"),),
            from_global={
                "smarthost": "smtp_smarthost",
                "from": "smtp_from",
                "auth_username": "smtp_auth_username",
                "auth_password": "smtp_auth_password",
                "auth_password_file": "smtp_auth_password_file",
                "require_tls": "smtp_require_tls",
            },
            send_resolved=False,
        ),
        ServiceKind(
            name="slack",
            texts=_texts("slack", "title text", "channel"),
            plain=_keys("api_url api_url_file"),
            title="title",
            text="text",
            ornaments=_keys(
                "username color title_link pretext fields short_fields footer fallback callback_id icon_emoji icon_url"
                " image_url thumb_url link_names mrkdwn_in actions"
            ),
            needs=(("api_url", "api_url_file"),),
            only_one=(("api_url", "api_url_file"),),
            from_global={"api_url": "slack_api_url", "api_url_file": "slack_api_url_file"},
            send_resolved=False,
        ),
        ServiceKind(
            name="pagerduty",
            address=("url", "pagerduty_url", "https://events.pagerduty.com/v2/enqueue"),
            texts=_texts("pagerduty", "description client", "routing_key severity component group class source"),
            plain=_keys("routing_key_file"),
            text="description",
            mappings=_keys("details"),
            ornaments=_keys("client_url images links"),
            needs=(("routing_key", "routing_key_file"),),
            only_one=(("routing_key", "routing_key_file"),),
        ),
        ServiceKind(
            name="opsgenie",
            address=("api_url", "opsgenie_api_url", "https://api.opsgenie.com/"),
            texts=_texts("opsgenie", "message description", "priority entity tags"),
            plain=_keys("api_key api_key_file"),
            title="message",
            text="description",
            mappings=_keys("details"),
            ornaments=_keys("source note actions update_alerts"),
            needs=(("api_key", "api_key_file"),),
            only_one=(("api_key", "api_key_file"),),
            from_global={"api_key": "opsgenie_api_key", "api_key_file": "opsgenie_api_key_file"},
        ),
        ServiceKind(
            name="telegram",
            address=("api_url", "telegram_api_url", "https://api.telegram.org"),
            texts=_texts("telegram", "message"),
            plain=_keys("bot_token bot_token_file chat_id message_thread_id disable_notifications parse_mode"),
            text="message",
            needs=(("bot_token", "bot_token_file"), ("chat_id",)),
            only_one=(("bot_token", "bot_token_file"),),
        ),
        ServiceKind(
            name="discord",
            texts=_texts("discord", "title message"),
            plain=_keys("webhook_url webhook_url_file"),
            title="title",
            text="message",
            ornaments=_keys("content username avatar_url"),
            needs=(("webhook_url", "webhook_url_file"),),
            only_one=(("webhook_url", "webhook_url_file"),),
        ),
        ServiceKind(
            name="msteamsv2",
            texts=_texts("msteamsv2", "title text"),
            plain=_keys("webhook_url webhook_url_file"),
            title="title",
            text="text",
            needs=(("webhook_url", "webhook_url_file"),),
            only_one=(("webhook_url", "webhook_url_file"),),
        ),
        ServiceKind(
            name="pushover",
            texts=_texts("pushover", "title message url", "url_title user_key token sound device"),
            plain=_keys("user_key_file token_file html"),
            title="title",
            text="message",
            ornaments=_keys("priority retry expire ttl monospace"),
            needs=(("user_key", "user_key_file"), ("token", "token_file")),
            only_one=(("user_key", "user_key_file"), ("token", "token_file")),
        ),
        ServiceKind(
            name="sns",
            texts=_texts("sns", "subject message", "topic_arn phone_number"),
            plain=_keys("sigv4"),
            title="subject",
            text="message",
            ornaments=_keys("attributes"),
            needs=(("sigv4",), ("topic_arn", "phone_number")),
            only_one=(("topic_arn", "phone_number"),),
        ),
        ServiceKind(
            name="victorops",
            address=(
                "api_url",
                "victorops_api_url",
                "https://alert.victorops.com/integrations/generic/20131114/alert/",
            ),
            texts=_texts("victorops", "state_message entity_display_name", "routing_key"),
            plain=_keys("api_key api_key_file"),
            title="entity_display_name",
            text="state_message",
            ornaments=_keys("message_type monitoring_tool custom_fields"),
            needs=(("api_key", "api_key_file"), ("routing_key",)),
            only_one=(("api_key", "api_key_file"),),
            from_global={"api_key": "victorops_api_key", "api_key_file": "victorops_api_key_file"},
        ),
        ServiceKind(
            name="wechat",
            address=("api_url", "wechat_api_url", "https://qyapi.weixin.qq.com/cgi-bin/"),
            texts=_texts("wechat", "message to_user", "agent_id"),
            plain=_keys("api_secret corp_id"),
            text="message",
            ornaments=_keys("message_type"),
            needs=(("api_secret",), ("corp_id",), ("agent_id",)),
            from_global={"api_secret": "wechat_api_secret", "corp_id": "wechat_api_corp_id"},
            send_resolved=False,
        ),
        ServiceKind(
            name="mattermost",
            texts=_texts("mattermost", "text", "channel"),
            plain=_keys("webhook_url webhook_url_file"),
            text="text",
            ornaments=_keys("username icon_url icon_emoji attachments props priority type"),
            needs=(("webhook_url", "webhook_url_file"),),
            only_one=(("webhook_url", "webhook_url_file"),),
        ),
        ServiceKind(
            name="rocketchat",
            texts=_texts("rocketchat", "title text", "channel"),
            plain=_keys("api_url token token_file token_id token_id_file"),
            root_url="api_url",
            title="title",
            text="text",
            ornaments=_keys(
                "color title_link fields short_fields emoji icon_url image_url thumb_url link_names actions"
            ),
            needs=(("api_url",), ("token", "token_file"), ("token_id", "token_id_file"), ("channel",)),
            only_one=(("token", "token_file"), ("token_id", "token_id_file")),
            from_global={
                "api_url": "rocketchat_api_url",
                "token": "rocketchat_token",
                "token_file": "rocketchat_token_file",
                "token_id": "rocketchat_token_id",
                "token_id_file": "rocketchat_token_id_file",
            },
            send_resolved=False,
        ),
        ServiceKind(
            name="webex",
            address=("api_url", "webex_api_url", "https://webexapis.com/v1/messages"),
            texts=_texts("webex", "message", "room_id"),
            plain=_keys("http_config"),
            text="message",
            needs=(("room_id",), ("http_config",)),
        ),
    )
}

UNBUILT_KINDS = {
    "jira": "apprise's service of that name is Jira Service Management, not Jira",
    "msteams": "its connectors were retired; use msteamsv2_configs",
}
