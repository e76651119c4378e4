"""Which alerts `GET /api/v2/alerts` and `/alerts/groups` show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from collector.alerts.matchers import MatcherError, compiled, parse_matchers
from collector.alerts.muting import AlertStatus, Mutes
from collector.alerts.silence import filter_accepts
from collector.api.alertmanager_json import BadShapeError
from collector.errors import BadRequestError
from collector.model.series import Labels, Matcher


@dataclass(frozen=True, slots=True)
class AlertFilter:
    matchers: list[Matcher]
    receiver: Any  # a compiled pattern, or None
    active: bool
    silenced: bool
    inhibited: bool
    muted: bool
    unprocessed: bool  # nothing is, here; accepted all the same

    @classmethod
    def of(cls, request: Request) -> AlertFilter:
        query = request.query_params
        try:
            matchers = [one for text in query.getlist("filter") for one in parse_matchers(text)]
        except MatcherError as error:
            raise BadRequestError(str(error)) from error
        try:
            receiver = compiled(query["receiver"]) if query.get("receiver") else None
        except MatcherError as error:
            raise BadRequestError(f"failed to parse receiver param: {error}") from error
        names = ("active", "silenced", "inhibited", "muted", "unprocessed")
        return cls(matchers, receiver, **{name: _boolean(name, query.get(name)) for name in names})

    def takes_receiver(self, name: str) -> bool:
        return self.receiver is None or self.receiver.match(name) is not None

    def takes(self, labels: Labels, mutes: Mutes) -> bool:
        return (
            (self.active or mutes.status is not AlertStatus.ACTIVE)
            and (self.silenced or not mutes.silenced_by)
            and (self.inhibited or not mutes.inhibited_by)
            and (self.muted or not mutes.muted_by)
            and filter_accepts(self.matchers, dict(labels))
        )


def _boolean(name: str, text: str | None) -> bool:
    if text is None:
        return True
    if text.lower() in {"true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"}:  # swag.ConvertBool
        return True
    if text.lower() in {"false", "0", "no", "n", "off", "f", "disabled", ""}:
        return False
    raise BadShapeError(f"{name} in query must be of type boolean: {text[:40]!r}")
