"""
What the shop keeps on the bus, declared in one place and made by whichever service comes first.

Why ORDERS is an *interest* stream with two durable consumers, and not a work queue: inventory and recommendation must
each see every order, but JetStream lets a work-queue stream have one consumer for a subject. Interest retention is the
work queue for several groups: a message stays until every group has acknowledged it, and replicas of one group share
its work. Interest has a trap: what is published while no consumer exists is dropped. So the consumers are durable and
are declared here together with the stream, before anybody publishes, whether or not their service has ever run.

The consumers set no max_deliver: the server would then stop delivering a message whose consumer dies each time before
it can say anything, and the message would lie there for ever. consumer.py counts deliveries itself and moves such a
message to DEAD_LETTERS.
"""

from __future__ import annotations

from dataclasses import dataclass

from nats.js import JetStreamContext, api
from nats.js.errors import APIError

ORDER_PLACED = "order.placed"
CLICK_RECORDED = "click.recorded"
DEAD_LETTER = "dead"  # dead.{durable}.{original subject}

ORDERS = "ORDERS"
CLICKS = "CLICKS"
DEAD_LETTERS = "DEAD_LETTERS"
CARTS_BUCKET = "carts"
FAULTS_BUCKET = "faults"
FLAGS_BUCKET = "flags"

_DAY_S = 24 * 3600.0
# Longer than any outage of the bus after which the outbox may publish an order a second time.
DEDUPLICATION_S = 15 * 60.0
ACK_WAIT_S = 5.0  # a consumer that was killed holds a message up for so long; handling one takes some ms
ACK_PENDING = 256  # messages in the hands of one durable's replicas; about 1 s of their work
_STREAM_NAME_IN_USE = 10058  # err_code of nats-server: exists with another configuration
_BYTES = 256 * 1024 * 1024  # per stream, so that a forgotten stack cannot fill the disk


@dataclass(frozen=True, slots=True)
class Durable:
    name: str
    stream: str
    subject: str


INVENTORY_ORDERS = Durable("inventory", ORDERS, ORDER_PLACED)
RECOMMENDATION_ORDERS = Durable("recommendation", ORDERS, ORDER_PLACED)
RECOMMENDATION_CLICKS = Durable("recommendation-clicks", CLICKS, CLICK_RECORDED)
DURABLES = (INVENTORY_ORDERS, RECOMMENDATION_ORDERS, RECOMMENDATION_CLICKS)

STREAMS = (
    api.StreamConfig(
        name=ORDERS,
        subjects=[ORDER_PLACED],
        retention=api.RetentionPolicy.INTEREST,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.NEW,  # full: refuse, so that the outbox keeps the order; never drop an old one
        max_bytes=_BYTES,
        duplicate_window=DEDUPLICATION_S,
    ),
    api.StreamConfig(
        name=CLICKS,
        subjects=[CLICK_RECORDED],
        retention=api.RetentionPolicy.LIMITS,
        storage=api.StorageType.FILE,
        max_age=_DAY_S,
        max_bytes=_BYTES,
    ),
    api.StreamConfig(
        name=DEAD_LETTERS,
        subjects=[f"{DEAD_LETTER}.>"],
        retention=api.RetentionPolicy.LIMITS,
        storage=api.StorageType.FILE,
        max_age=7 * _DAY_S,  # a week to look at what went wrong
        max_bytes=_BYTES,
        duplicate_window=DEDUPLICATION_S,
    ),
)
BUCKETS = (
    api.KeyValueConfig(bucket=CARTS_BUCKET, history=1, ttl=_DAY_S, max_bytes=_BYTES, storage=api.StorageType.FILE),
    # A fault ends by its own time, an hour at most; the bucket only forgets it afterwards.
    api.KeyValueConfig(
        bucket=FAULTS_BUCKET, history=1, ttl=2 * 3600.0, max_bytes=1 << 20, storage=api.StorageType.FILE
    ),
    api.KeyValueConfig(bucket=FLAGS_BUCKET, history=1, max_bytes=1 << 20, storage=api.StorageType.FILE),
)


async def declare(jetstream: JetStreamContext) -> None:
    """Make what is missing. Idempotent; a stream that exists with other settings is left as it is."""
    for stream in STREAMS:
        await _tolerating_existence(jetstream.add_stream(stream))
    for durable in DURABLES:
        await jetstream.add_consumer(
            durable.stream,
            api.ConsumerConfig(
                durable_name=durable.name,
                filter_subject=durable.subject,
                ack_policy=api.AckPolicy.EXPLICIT,
                deliver_policy=api.DeliverPolicy.ALL,
                ack_wait=ACK_WAIT_S,
                max_ack_pending=ACK_PENDING,
            ),
        )
    for bucket in BUCKETS:
        await _tolerating_existence(jetstream.create_key_value(bucket))


async def _tolerating_existence(making) -> None:  # type: ignore[no-untyped-def]
    try:
        await making
    except APIError as error:
        if error.err_code != _STREAM_NAME_IN_USE:
            raise
