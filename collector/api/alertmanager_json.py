"""
The bodies of Alertmanager's API v2, read and written. Pure.

Source: alertmanager/api/v2/openapi.yaml, api/v2/api.go, api/v2/compat.go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from collector.alerts.matchers import MatcherError, new_matcher
from collector.alerts.muting import Mutes
from collector.alerts.silence import Silence, SilenceState
from collector.alerts.taken import Taken
from collector.errors import BadRequestError
from collector.model.alert import Alert
from collector.model.series import Labels, Matcher, MatchOp, labels_of

# Characters of one alert's labels and annotations together; Prometheus's rules stay below a hundredth of it.
MAX_ALERT_CHARS = 64 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO_YEAR = 1  # Go's zero time, which counts as not given
_STATE_ORDER = {SilenceState.ACTIVE: 0, SilenceState.PENDING: 1, SilenceState.EXPIRED: 2}


class BadShapeError(BadRequestError):
    """What was sent does not have the API's shape: answered 422, or 400 if it is not JSON at all."""

    def __init__(self, message: str, *, code: int = 601, status: int = 422) -> None:
        super().__init__(message)
        self.code, self.status = code, status


@dataclass(slots=True)
class PostedAlerts:
    """The valid alerts of a request, and what is wrong with each other one."""

    valid: list[Taken] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def read_json(body: bytes, name: str) -> Any:
    """Raises BadShapeError: not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        message = f'parsing {name} body from "" failed, because {error}'
        raise BadShapeError(message, code=400, status=400) from error


def read_alerts(body: bytes, *, now_ms: int, resolve_timeout_ms: int) -> PostedAlerts:
    """
    The alerts of `POST /api/v2/alerts`. One that is wrong does not keep the others from being taken.

    Raises:
        BadShapeError: the body is no list of alerts at all.
    """
    data = read_json(body, "alerts")
    if not isinstance(data, list):
        raise BadShapeError("alerts in body must be of type array")
    posted = PostedAlerts()
    for position, item in enumerate(data):
        try:
            posted.valid.append(_posted(item, position, now_ms, resolve_timeout_ms))
        except BadShapeError:
            raise
        except BadRequestError as error:
            posted.errors.append(str(error))
    return posted


def _posted(item: object, position: int, now_ms: int, resolve_timeout_ms: int) -> Taken:
    if not isinstance(item, dict):
        raise BadShapeError(f"{position} in body must be of type object")
    labels = _pairs(item.get("labels"), f"{position}.labels", required=True)
    annotations = _pairs(item.get("annotations"), f"{position}.annotations", required=False)
    starts_at_ms = read_time(item.get("startsAt"), f"{position}.startsAt")
    ends_at_ms = read_time(item.get("endsAt"), f"{position}.endsAt")
    is_timeout = ends_at_ms is None
    if starts_at_ms is None:
        # Alertmanager says endsAt, even one to come: then each report of the alert would begin another one.
        starts_at_ms = now_ms if ends_at_ms is None else min(ends_at_ms, now_ms)
    if ends_at_ms is None:
        ends_at_ms = now_ms + resolve_timeout_ms
    if ends_at_ms < starts_at_ms:
        raise BadRequestError("start time must be before end time")
    kept = labels_of(labels)
    if not kept:
        raise BadRequestError("at least one label pair required")
    if "" in labels or "" in annotations:
        raise BadRequestError('invalid label set: invalid name ""')
    size = sum(len(name) + len(value) for pairs in (labels, annotations) for name, value in pairs.items())
    if size > MAX_ALERT_CHARS:
        raise BadRequestError(f"alert of {size} characters is over the limit of {MAX_ALERT_CHARS}: {position} in body")
    url = item.get("generatorURL")
    alert = Alert(
        kept, tuple(sorted(annotations.items())), starts_at_ms, ends_at_ms, url if isinstance(url, str) else ""
    )
    return Taken(alert, now_ms, is_timeout)


def _pairs(value: object, where: str, *, required: bool) -> dict[str, str]:
    if value is None:
        if required:
            raise BadShapeError(f"{where} in body is required", code=602)
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise BadShapeError(f"{where} in body must be of type object with text values")
    try:
        for name, text in value.items():
            (name + text).encode()
    except UnicodeEncodeError:
        raise BadShapeError(f"{where} in body is not valid UTF-8") from None
    return value


def read_time(value: object, where: str) -> int | None:
    """Unix milliseconds; None: not given, or Go's zero time. Raises BadShapeError."""
    if value is None or value == "":
        return None
    try:
        at = datetime.fromisoformat(str(value).replace("Z", "+00:00").replace("z", "+00:00"))
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        unix_ms = (at - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError) as error:
        raise BadShapeError(f"{where} in body must be of type date-time: {str(value)[:40]!r}") from error
    return None if at.year <= _ZERO_YEAR else unix_ms


def read_silence(body: bytes) -> Silence:
    """
    The silence of `POST /api/v2/silences`; its id is "" for a new one.

    Raises:
        BadShapeError, BadRequestError
    """
    data = read_json(body, "silence")
    if not isinstance(data, dict):
        raise BadShapeError("silence in body must be of type object")
    for name in ("comment", "createdBy", "endsAt", "matchers", "startsAt"):
        if data.get(name) is None:
            raise BadShapeError(f"{name} in body is required", code=602)
    matchers = data["matchers"]
    if not isinstance(matchers, list):
        raise BadShapeError("matchers in body must be of type array")
    if not matchers:
        raise BadShapeError("matchers in body should have at least 1 items", code=612)
    starts_at_ms, ends_at_ms = read_time(data["startsAt"], "startsAt"), read_time(data["endsAt"], "endsAt")
    if starts_at_ms is None or ends_at_ms is None:
        missing = "start" if starts_at_ms is None else "end"
        raise BadRequestError(f"silence invalid: invalid zero {missing} timestamp")
    return Silence(
        id=str(data.get("id") or ""),
        matchers=tuple(_matcher(item, position) for position, item in enumerate(matchers)),
        starts_at_ms=starts_at_ms,
        ends_at_ms=ends_at_ms,
        created_by=str(data["createdBy"]),
        comment=str(data["comment"]),
    )


def _matcher(item: object, position: int) -> Matcher:
    where = f"matchers.{position}"
    if not isinstance(item, dict):
        raise BadShapeError(f"{where} in body must be of type object")
    for name, kind in (("name", str), ("value", str), ("isRegex", bool)):
        if item.get(name) is None:
            raise BadShapeError(f"{where}.{name} in body is required", code=602)
        if not isinstance(item[name], kind):
            raise BadShapeError(f"{where}.{name} in body must be of type {'boolean' if kind is bool else 'string'}")
    operators = {(False, True): "=", (False, False): "!=", (True, True): "=~", (True, False): "!~"}
    op = MatchOp(operators[item["isRegex"], item.get("isEqual", True) is not False])
    try:
        return new_matcher(item["name"], op, item["value"])
    except MatcherError as error:
        raise BadRequestError(f"silence invalid: invalid label matcher {position}: {error}") from error


def time_json(unix_ms: int) -> str:
    """As strfmt.DateTime prints it: always milliseconds."""
    return (_EPOCH + timedelta(milliseconds=unix_ms)).isoformat(timespec="milliseconds")[:23] + "Z"


def alert_json(taken: Taken, receivers: Sequence[str], mutes: Mutes) -> dict[str, Any]:
    alert = taken.alert
    shown: dict[str, Any] = {
        "annotations": dict(alert.annotations),
        "endsAt": time_json(alert.ends_at_ms),
        "fingerprint": alert.fingerprint,
        "receivers": [{"name": name} for name in receivers],
        "startsAt": time_json(alert.starts_at_ms),
        "status": {
            "inhibitedBy": mutes.inhibited_by,
            "mutedBy": mutes.muted_by,
            "silencedBy": mutes.silenced_by,
            "state": mutes.status.value,
        },
        "updatedAt": time_json(taken.updated_at_ms),
        "labels": dict(alert.labels),
    }
    return shown | {"generatorURL": alert.generator_url} if alert.generator_url else shown


def group_json(labels: Labels, receiver: str, alerts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"alerts": list(alerts), "labels": dict(labels), "receiver": {"name": receiver}}


def silence_json(silence: Silence, now_ms: int) -> dict[str, Any]:
    return {
        "id": silence.id,
        "status": {"state": silence.state(now_ms).value},
        "updatedAt": time_json(silence.updated_at_ms),
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "endsAt": time_json(silence.ends_at_ms),
        "matchers": [
            {
                "isEqual": matcher.op in (MatchOp.EQUAL, MatchOp.REGEX),
                "isRegex": matcher.op in (MatchOp.REGEX, MatchOp.NOT_REGEX),
                "name": matcher.name,
                "value": matcher.value,
            }
            for matcher in silence.matchers
        ],
        "startsAt": time_json(silence.starts_at_ms),
    }


def silence_order(silence: Silence, now_ms: int) -> tuple[int, int]:
    """Active ones first, that which ends first before; then pending, then expired, the latest first."""
    state = silence.state(now_ms)
    when = {SilenceState.ACTIVE: silence.ends_at_ms, SilenceState.PENDING: silence.starts_at_ms}
    return _STATE_ORDER[state], when.get(state, -silence.ends_at_ms)
