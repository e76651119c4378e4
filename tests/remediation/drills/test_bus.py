"""Messages on a real bus."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import nats
import pytest

from remediation.drills.bus import flag, publish, set_flag
from remediation.drills.errors import BrokenAnswerError
from remediation.drills.injection import Message

TOKEN = "drill-token"
MESSAGE = Message(subject="order.placed", body="no order", count=3)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
async def bus(tmp_path):
    port = free_port()
    config = tmp_path / "nats.conf"
    config.write_text(
        f'listen: 127.0.0.1:{port}\njetstream {{ store_dir: "{tmp_path}/store" }}\nauthorization {{ token: {TOKEN} }}\n'
    )
    program = Path(sys.executable).parent / "nats-server"
    with subprocess.Popen([program, "-c", config], stderr=subprocess.DEVNULL) as server:  # noqa: ASYNC220
        url = f"nats://127.0.0.1:{port}"
        client = await nats.connect(url, token=TOKEN, max_reconnect_attempts=50, reconnect_time_wait=0.05)
        yield url, client
        await client.close()
        server.terminate()


async def test_a_message_is_kept_as_it_is_and_as_often_as_asked(bus):
    url, client = bus
    stream = client.jetstream()
    await stream.add_stream(name="ORDERS", subjects=["order.placed"])
    await publish(url, TOKEN, MESSAGE)
    assert (await stream.stream_info("ORDERS")).state.messages == 3
    assert (await stream.get_msg("ORDERS", 1)).data == b"no order"


async def test_a_subject_that_nobody_keeps_is_named(bus):
    url, _ = bus
    with pytest.raises(BrokenAnswerError, match=r"did not take order\.placed"):
        await publish(url, TOKEN, MESSAGE)


async def test_a_bus_that_is_not_there_is_named_without_its_token():
    with pytest.raises(BrokenAnswerError, match="STEERSMAN_NATS_URL") as error:
        await publish(f"nats://127.0.0.1:{free_port()}", TOKEN, MESSAGE)
    assert TOKEN not in str(error.value)


async def test_a_flag_is_set_for_a_time_read_and_unset(bus):
    url, client = bus
    with pytest.raises(BrokenAnswerError, match=r"did not take shop\.new"):
        await flag(url, TOKEN, "shop.new")  # nobody reads flags from this bus
    await client.jetstream().create_key_value(bucket="flags")
    assert await flag(url, TOKEN, "shop.new") is None
    await set_flag(url, TOKEN, "shop.new", value=True, ttl_s=60.0)
    assert await flag(url, TOKEN, "shop.new") is True
    await set_flag(url, TOKEN, "shop.new", value=None)
    assert await flag(url, TOKEN, "shop.new") is None
    await set_flag(url, TOKEN, "shop.new", value=True, ttl_s=0.0)
    assert await flag(url, TOKEN, "shop.new") is None, "its time is over"
