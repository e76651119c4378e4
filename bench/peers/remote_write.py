"""
Remote write 1.0: bodies made beforehand, in a file, so that only sending them is measured; and the sender.

As a Prometheus shards its queue by series, each connection sends the bodies of its own series in the order of time,
one at a time, each with one sample for each of up to BODY_SAMPLES series. No connection runs further ahead of the
others than AHEAD_TICKS, as samples of one time come together in life too.

Source: prompb/remote.proto and types.proto; the remote write specification 1.0.
"""

from __future__ import annotations

import itertools
import mmap
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cramjam
import numpy as np
from numpy.typing import NDArray

from peers.dataset import Dataset

BODY_SAMPLES = 2_000  # Prometheus's max_samples_per_send by default since 2.45 (config/config.go)
CONNECTIONS = 4
AHEAD_TICKS = 20
TIMESTAMP_BYTES = 6  # a varint of 42 bits: 13 digits of milliseconds, from 2004 to 2109
RETRY_S = 0.2
RETRIES = 100


@dataclass(frozen=True, slots=True)
class Bodies:
    """Bodies of requests in one file. Shard s sends its bodies in order; entry: (offset, length, tick)."""

    path: Path
    shards: tuple[tuple[tuple[int, int, int], ...], ...]
    samples: int
    plain_bytes: int  # before compression

    @property
    def requests(self) -> int:
        return sum(len(shard) for shard in self.shards)


@dataclass(frozen=True, slots=True)
class Sent:
    seconds: float
    samples: int
    requests: int
    retries: int


class _Template:
    """The message for some series at one time, with holes for values and timestamps."""

    def __init__(self, labels: Sequence[tuple[tuple[str, str], ...]]) -> None:
        parts: list[bytes] = []
        values: list[int] = []
        times: list[int] = []
        size = 0
        for series in labels:
            fields = b"".join(_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in series)
            sample = b"\x09" + bytes(8) + b"\x10" + bytes(TIMESTAMP_BYTES)
            body = fields + _field(2, sample)
            message = _field(1, body)
            end = size + len(message)
            values.append(end - TIMESTAMP_BYTES - 1 - 8)
            times.append(end - TIMESTAMP_BYTES)
            parts.append(message)
            size = end
        self._bytes = np.frombuffer(b"".join(parts), np.uint8)
        self._values = (np.array(values)[:, None] + np.arange(8)).ravel()
        self._times = (np.array(times)[:, None] + np.arange(TIMESTAMP_BYTES)).ravel()

    def filled(self, values: NDArray[np.float64], timestamps_ms: NDArray[np.int64]) -> bytes:
        message = self._bytes.copy()
        message[self._values] = np.ascontiguousarray(values, "<f8").view(np.uint8)
        message[self._times] = _varints(timestamps_ms).ravel()
        return message.tobytes()


def _field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _varints(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """[n, 6]; all must need exactly six bytes."""
    assert bool((values >> 35 > 0).all() and (values >> 42 == 0).all())
    groups = values[:, None] >> (7 * np.arange(TIMESTAMP_BYTES)) & 0x7F
    groups[:, :-1] |= 0x80
    return groups.astype(np.uint8)


def write_bodies(data: Dataset, path: Path, *, connections: int = CONNECTIONS) -> Bodies:
    """All samples of `data` as compressed requests in `path`."""
    count = -(-data.series // BODY_SAMPLES)
    count = max(count, min(connections, data.series))
    count = -(-count // connections) * connections if data.series >= connections else count
    edges = np.linspace(0, data.series, count + 1).astype(int)
    chunks = [slice(int(low), int(high)) for low, high in itertools.pairwise(edges)]
    templates = [_Template(data.labels[chunk]) for chunk in chunks]
    shards: list[list[tuple[int, int, int]]] = [[] for _ in range(min(connections, count))]
    offset = plain = 0
    with path.open("wb") as file:
        for tick in range(data.ticks):
            for number, (chunk, template) in enumerate(zip(chunks, templates, strict=True)):
                message = template.filled(data.values[chunk, tick], data.timestamps_ms(chunk, tick))
                body = bytes(cramjam.snappy.compress_raw(message))
                file.write(body)
                shards[number % len(shards)].append((offset, len(body), tick))
                offset += len(body)
                plain += len(message)
    return Bodies(path, tuple(tuple(shard) for shard in shards), data.samples, plain)


class SendError(Exception):
    """A server refused a body, or did not take it in time."""


class _Sender:
    def __init__(self, bodies: Bodies, port: int, path: str) -> None:
        self._bodies = bodies
        self._address = ("127.0.0.1", port)
        self._head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode() + (
            b"Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n"
            b"X-Prometheus-Remote-Write-Version: 0.1.0\r\nUser-Agent: bench\r\nContent-Length: "
        )
        self._done = [0] * len(bodies.shards)  # ticks
        self._moved = threading.Condition()
        self.retries = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        with self._bodies.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            threads = [
                threading.Thread(target=self._shard, args=(number, data)) for number in range(len(self._bodies.shards))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if self.error is not None:
            raise self.error

    def _shard(self, number: int, data: mmap.mmap) -> None:
        try:
            with socket.create_connection(self._address, timeout=60) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for offset, length, tick in self._bodies.shards[number]:
                    self._wait_for_others(number, tick)
                    self._send(connection, data[offset : offset + length])
        except BaseException as error:
            self.error = self.error or error
        finally:
            with self._moved:
                self._done[number] = 1 << 62
                self._moved.notify_all()

    def _wait_for_others(self, number: int, tick: int) -> None:
        if self._done[number] == tick:
            return
        with self._moved:
            self._done[number] = tick
            self._moved.notify_all()
            self._moved.wait_for(lambda: min(self._done) >= tick - AHEAD_TICKS or self.error is not None)
        if self.error is not None:
            raise SendError("another connection failed")

    def _send(self, connection: socket.socket, body: bytes) -> None:
        request = self._head + str(len(body)).encode() + b"\r\n\r\n" + body
        for _ in range(RETRIES):
            connection.sendall(request)
            status, text = _answer(connection)
            if status < 300:
                return
            if status != 429 and status < 500:
                break
            self.retries += 1
            time.sleep(RETRY_S)
        raise SendError(f"remote write answered {status}: {text[:300]!r}")


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer with a Content-Length, or none."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        if not received:
            raise SendError("the server closed the connection")
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        received = connection.recv(65536)
        if not received:
            raise SendError("the server closed the connection")
        body += received
    return int(head.split(b" ", 2)[1]), body


def send(bodies: Bodies, *, port: int, path: str) -> Sent:
    """
    Send every body to 127.0.0.1. A server that is busy (429, 5xx) gets the same body again, up to RETRIES times.

    Raises:
        SendError: a body was refused.
        OSError: no connection.
    """
    sender = _Sender(bodies, port, path)
    began = time.perf_counter()
    sender.run()
    return Sent(time.perf_counter() - began, bodies.samples, bodies.requests, sender.retries)
