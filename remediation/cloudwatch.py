"""
CloudWatch alarms, as Amazon SNS posts them: an envelope whose `Message` is the alarm as JSON.

SNS sends no bearer token; it sends the user and password of the subscribed URL, so the token is the password
(`https://steersman:TOKEN@host/api/v1/webhook/cloudwatch`). Nothing is ever fetched: neither the certificate that signs
a message nor the URL that confirms a subscription, since whoever posts decides where they point. A person confirms,
with `aws sns confirm-subscription` and the token that the worker keeps in a file.

Source: docs.aws.amazon.com/sns, "HTTP/HTTPS notification JSON format", and docs.aws.amazon.com/AmazonCloudWatch,
"Alarm events and EventBridge" and the alarm's SNS message.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from remediation.webhook import Alert, Text

MAX_CONFIRMATIONS = 100  # files kept; more topics than that are somebody's mistake
# A message may be 256 KiB (SNS quotas), the envelope around it a little more.
Short = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class _Payload(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Envelope(_Payload):
    Type: Literal["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"]
    TopicArn: Annotated[Short, StringConstraints(pattern=r"^arn:[\w:.-]+$")]
    Message: str = Field(max_length=300_000)
    Token: str = Field(default="", max_length=4096)


class Dimension(_Payload):
    name: Short
    value: Text


class Watched(_Payload):
    """The alarm's `Trigger`."""

    MetricName: Text = ""
    Namespace: Text = ""
    Dimensions: tuple[Dimension, ...] = Field(default=(), max_length=30)


class Alarm(_Payload):
    AlarmName: Short
    AlarmDescription: Text | None = None
    AWSAccountId: Text = ""
    Region: Text = ""
    AlarmArn: Short
    NewStateValue: Literal["ALARM", "OK", "INSUFFICIENT_DATA"]
    NewStateReason: Text = ""
    StateChangeTime: AwareDatetime
    Trigger: Watched = Watched()

    def alert(self) -> Alert | None:
        """
        The alarm as an alert: its dimensions are labels, each under its own name; a dimension `ServiceName`
        is `service` too. None while CloudWatch itself does not know.
        """
        if self.NewStateValue == "INSUFFICIENT_DATA":
            return None
        labels = {one.name: one.value for one in self.Trigger.Dimensions}
        if "ServiceName" in labels:
            labels.setdefault("service", labels["ServiceName"])
        labels |= {"alertname": self.AlarmName, "source": "cloudwatch", "region": self.Region}
        labels |= {"account": self.AWSAccountId, "metric": self.Trigger.MetricName, "namespace": self.Trigger.Namespace}
        annotations = {"summary": self.NewStateReason, "description": self.AlarmDescription or ""}
        return Alert(
            status="firing" if self.NewStateValue == "ALARM" else "resolved",
            labels={name: value for name, value in labels.items() if value},
            annotations={name: value for name, value in annotations.items() if value},
            startsAt=self.StateChangeTime,
            fingerprint=hashlib.sha256(self.AlarmArn.encode()).hexdigest()[:16],
        )


def keep_confirmation(folder: Path, envelope: Envelope, now: dt.datetime) -> Path:
    """
    Keep what a person needs to confirm the subscription, readable for the owner alone; a repetition overwrites.

    Raises:
        ValueError: too many wait already.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{hashlib.sha256(envelope.TopicArn.encode()).hexdigest()[:16]}.json"
    if not path.exists() and len(list(folder.iterdir())) >= MAX_CONFIRMATIONS:
        raise ValueError(f"{MAX_CONFIRMATIONS} subscriptions wait to be confirmed already, in {folder}")
    told = {"topic_arn": envelope.TopicArn, "token": envelope.Token, "at": now.isoformat(timespec="seconds")}
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(told, file)
    return path
