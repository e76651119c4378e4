"""Webhook payloads of Alertmanager (version 4) and Grafana (version 1), as outside data: validated here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

# An Alertmanager sends 200 alerts a group at most in practice; a payload beyond this is a mistake.
MAX_ALERTS = 10_000


def _storable(text: str) -> str:
    if "\x00" in text:  # PostgreSQL's text has no such character
        raise ValueError("holds a NUL character")
    return text


Text = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_storable)]
LabelName = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_storable)]


class _Payload(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # senders add fields of their own (Grafana does)


class Alert(_Payload):
    status: Literal["firing", "resolved"]
    labels: dict[LabelName, Text] = Field(max_length=128)
    annotations: dict[LabelName, Text] = Field(default={}, max_length=128)
    startsAt: AwareDatetime  # noqa: N815  (the payload's own name)
    endsAt: AwareDatetime | None = None  # noqa: N815
    generatorURL: str = Field(default="", max_length=16384)  # noqa: N815
    # 16 hexadecimal digits from Prometheus and Grafana; it becomes part of an id, so nothing else is let in.
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z_-]{1,64}$")]

    @property
    def starts_at_unix_ms(self) -> int:
        return round(self.startsAt.timestamp() * 1000)

    @property
    def alertname(self) -> str:
        return self.labels.get("alertname", "")


class Notification(_Payload):
    """Alertmanager's. Source: prometheus.io, Alerting, Configuration, <webhook_config>."""

    version: Literal["4"]
    groupKey: str = ""  # noqa: N815
    receiver: str = ""
    alerts: tuple[Alert, ...] = Field(max_length=MAX_ALERTS)


class GrafanaNotification(_Payload):
    """
    Grafana's, which is Alertmanager's with fields of its own. Its alerts are rules of Grafana's, which no Prometheus
    knows: a policy that answers them verifies by a query, not by the rule's expression.

    Source: grafana.com/docs/grafana, Alerting, webhook notifier.
    """

    version: Literal["1"]
    alerts: tuple[Alert, ...] = Field(max_length=MAX_ALERTS)
