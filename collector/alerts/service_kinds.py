"""
The receivers of Alertmanager that go out through apprise: their keys, what they need, and what `global` gives them.

A key is `used` here, or it is an `ornament`: valid, but apprise's service has no counterpart (a colour, an icon); such
keys are named once in the log when the configuration is loaded. What would change where a notification goes, or who
sees it, is neither: it is refused by name.

Source: alertmanager/config/notifiers.go.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

# Alertmanager's own default texts, which are what is sent anyway: `{{ template "slack.default.title" . }}`.
_DEFAULT_TEXT = re.compile(r'\s*{{-?\s*template\s+"[a-z0-9_.]*default\.[a-zA-Z0-9_.]+"\s+\.\s*-?}}\s*')


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKind:
    name: str
    used: frozenset[str]
    ornaments: frozenset[str] = frozenset()
    needs: tuple[tuple[str, ...], ...] = ()  # of each tuple one key, here or in `global`
    only_one: tuple[tuple[str, ...], ...] = ()  # of each tuple one key at most
    from_global: Mapping[str, str] | None = None  # key here: key in `global`
    address: tuple[str, str, str] | None = None  # key here, key in `global`, and the only URL that apprise knows
    send_resolved: bool = True

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """
        Raises:
            ValueError: a key that is unknown, not built, or given twice over.
        """
        options = {key: value for key, value in options.items() if value is not None}  # as Go: not given
        if not isinstance(options.get("headers", {}), dict):
            raise ValueError(f"{self.name}_configs: headers is a mapping")
        for key, value in options.items():
            if self.address is not None and key == self.address[0]:
                self._check_address(value)
                continue
            if key not in self.used | self.ornaments:
                raise ValueError(f"field {key!r} is not known in {self.name}_configs, or not built yet")
            if key in self.used and any(map(_is_own_template, value.values() if key == "headers" else [value])):
                raise ValueError(f"{self.name}_configs: {key!r} is a template of its own, which is not built yet")
        for group in self.only_one:
            if sum(bool(options.get(key)) for key in group) > 1:
                raise ValueError(f"at most one of {' & '.join(group)} must be configured")
        for group in self.needs:
            inherited = self.from_global or {}
            if not any(options.get(key) for key in group) and not any(key in inherited for key in group):
                raise ValueError(f"missing {' or '.join(group)} in {self.name} config")
        if ignored := sorted(self.ornaments & {key for key, value in options.items() if value}):
            logger.warning("%s_configs: without effect here: %s", self.name, ", ".join(ignored))
        return {key: value for key, value in options.items() if key in self.used and not _is_default(value)}

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
        return given

    def _check_address(self, url: object) -> None:
        """Another address would be ignored, and the notification go where nobody meant it to go."""
        assert self.address is not None  # noqa: S101  (asked before)
        if url is not None and str(url).rstrip("/") != self.address[2].rstrip("/"):
            raise ValueError(f"{self.name}_configs: another address than {self.address[2]} is not built yet")


def _is_own_template(value: object) -> bool:
    return "{{" in str(value) and not _is_default(value)


def _is_default(value: object) -> bool:
    return isinstance(value, str) and _DEFAULT_TEXT.fullmatch(value) is not None


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


KINDS: dict[str, ServiceKind] = {
    kind.name: kind
    for kind in (
        ServiceKind(
            name="email",
            used=_keys("to from smarthost auth_username auth_password auth_password_file headers text require_tls"),
            ornaments=_keys("html hello auth_identity"),
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
            used=_keys("api_url api_url_file channel title text"),
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
            used=_keys("routing_key routing_key_file description severity component group class source"),
            ornaments=_keys("client client_url details images links"),
            needs=(("routing_key", "routing_key_file"),),
            only_one=(("routing_key", "routing_key_file"),),
        ),
        ServiceKind(
            name="opsgenie",
            address=("api_url", "opsgenie_api_url", "https://api.opsgenie.com/"),
            used=_keys("api_key api_key_file message description priority entity tags"),
            ornaments=_keys("source details note actions update_alerts"),
            needs=(("api_key", "api_key_file"),),
            only_one=(("api_key", "api_key_file"),),
            from_global={"api_key": "opsgenie_api_key", "api_key_file": "opsgenie_api_key_file"},
        ),
        ServiceKind(
            name="telegram",
            address=("api_url", "telegram_api_url", "https://api.telegram.org"),
            used=_keys("bot_token bot_token_file chat_id message disable_notifications"),
            ornaments=_keys("parse_mode"),
            needs=(("bot_token", "bot_token_file"), ("chat_id",)),
            only_one=(("bot_token", "bot_token_file"),),
        ),
        ServiceKind(
            name="discord",
            used=_keys("webhook_url webhook_url_file title message"),
            ornaments=_keys("content username avatar_url"),
            needs=(("webhook_url", "webhook_url_file"),),
            only_one=(("webhook_url", "webhook_url_file"),),
        ),
        ServiceKind(
            name="msteamsv2",
            used=_keys("webhook_url webhook_url_file title text"),
            needs=(("webhook_url", "webhook_url_file"),),
            only_one=(("webhook_url", "webhook_url_file"),),
        ),
        ServiceKind(
            name="pushover",
            used=_keys("user_key user_key_file token token_file title message sound device"),
            ornaments=_keys("url url_title priority retry expire ttl html monospace"),
            needs=(("user_key", "user_key_file"), ("token", "token_file")),
            only_one=(("user_key", "user_key_file"), ("token", "token_file")),
        ),
        ServiceKind(
            name="sns",
            used=_keys("sigv4 topic_arn phone_number subject message"),
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
            used=_keys("api_key api_key_file routing_key state_message entity_display_name"),
            ornaments=_keys("message_type monitoring_tool custom_fields"),
            needs=(("api_key", "api_key_file"), ("routing_key",)),
            only_one=(("api_key", "api_key_file"),),
            from_global={"api_key": "victorops_api_key", "api_key_file": "victorops_api_key_file"},
        ),
        ServiceKind(
            name="wechat",
            address=("api_url", "wechat_api_url", "https://qyapi.weixin.qq.com/cgi-bin/"),
            used=_keys("api_secret corp_id message to_user agent_id"),
            ornaments=_keys("message_type"),
            needs=(("api_secret",), ("corp_id",), ("agent_id",)),
            from_global={"api_secret": "wechat_api_secret", "corp_id": "wechat_api_corp_id"},
            send_resolved=False,
        ),
        ServiceKind(
            name="mattermost",
            used=_keys("webhook_url webhook_url_file text channel"),
            ornaments=_keys("username icon_url icon_emoji attachments props priority type"),
            needs=(("webhook_url", "webhook_url_file"),),
            only_one=(("webhook_url", "webhook_url_file"),),
        ),
    )
}

UNBUILT_KINDS = {
    "incidentio": "apprise has no such service",
    "jira": "apprise's service of that name is Jira Service Management, not Jira",
    "msteams": "its connectors were retired; use msteamsv2_configs",
    "rocketchat": "apprise needs another kind of login; use apprise_configs with rocket://",
    "webex": "apprise's service posts to another API; use apprise_configs with wxteams://",
}
