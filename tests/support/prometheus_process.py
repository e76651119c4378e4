"""Debian's Prometheus as a peer: started on a free port, filled by remote write, asked over its API."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cramjam
import httpx
import numpy as np

from collector.model.histogram import HistogramSeries, NativeHistogram
from collector.model.series import Block, Labels, is_absent

FLAGS = (
    "--web.enable-remote-write-receiver",
    "--enable-feature=promql-at-modifier,promql-negative-offset,native-histograms",
    "--storage.tsdb.retention.time=100y",
    "--log.level=error",
)
# A request holds this much time of all series: the peer takes samples in the order of time.
_SLICE_MS = 600_000


class PrometheusProcess:
    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def ask(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.post(path, data=parameters).json()
        return answer

    def write(self, blocks: Sequence[Block], histograms: Sequence[HistogramSeries]) -> None:
        """Samples in the order of time, as a sender of remote write 1.0 sends them."""
        times = [block.timestamps_ms for block in blocks] + [one.timestamps_ms for one in histograms]
        start, end = min(int(one[0]) for one in times), max(int(one[-1]) for one in times)
        for low in range(start, end + 1, _SLICE_MS):
            body = b"".join(_sliced(blocks, histograms, low, low + _SLICE_MS))
            headers = {"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
            compressed = bytes(cramjam.snappy.compress_raw(body))
            self.client.post("/api/v1/write", content=compressed, headers=headers).raise_for_status()


@contextlib.contextmanager
def prometheus(folder: Path, config: Mapping[str, Any] | None = None) -> Iterator[PrometheusProcess]:
    (folder / "prometheus.yml").write_text(json.dumps(config or {"global": {}}))  # JSON is YAML
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", *FLAGS]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], cwd=folder, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=60) as client:
            _wait_ready(client, process, folder / "log")
            yield PrometheusProcess(client)
    finally:
        process.terminate()
        process.wait(20)


def _wait_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/-/ready").status_code == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"prometheus did not become ready in 30 s: {log.read_text()}")


def _sliced(blocks: Sequence[Block], histograms: Sequence[HistogramSeries], low: int, high: int) -> Iterator[bytes]:
    for block in blocks:
        part = slice(*np.searchsorted(block.timestamps_ms, (low, high)).tolist())
        times = block.timestamps_ms[part]
        for labels, values in zip(block.labels, block.values[:, part], strict=True):
            kept = ~is_absent(values)
            pairs = zip(times[kept].tolist(), values[kept], strict=True)
            samples = b"".join(_bytes(2, b"\x09" + struct.pack("<d", value) + _int(2, at)) for at, value in pairs)
            if samples:
                yield _bytes(1, _labels(labels) + samples)
    for one in histograms:
        part = slice(*np.searchsorted(one.timestamps_ms, (low, high)).tolist())
        pairs = zip(one.timestamps_ms[part].tolist(), one.histograms[part], strict=True)
        if samples := b"".join(_bytes(4, _histogram(at, value)) for at, value in pairs):
            yield _bytes(1, _labels(one.labels) + samples)


# Protocol buffers by hand: prompb/types.proto


def _varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _zigzag(value: int) -> bytes:
    return _varint((value << 1) ^ (value >> 63))


def _int(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _labels(labels: Labels) -> bytes:
    return b"".join(_bytes(1, _bytes(1, name.encode()) + _bytes(2, value.encode())) for name, value in labels)


def _histogram(at_ms: int, one: NativeHistogram) -> bytes:
    """With whole counts."""
    head = _int(1, int(one.count)) + _double(3, one.sum) + _varint(4 << 3) + _zigzag(one.schema)
    zero = _double(5, one.zero_threshold) + _int(6, int(one.zero_count))
    sides = _side(8, 9, one.negative_index, one.negative) + _side(11, 12, one.positive_index, one.positive)
    return head + zero + sides + _int(15, at_ms)


def _side(spans: int, deltas: int, index: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> bytes:
    """Each run of neighbouring buckets is a span; the first one's offset counts from 0, the others' from the last."""
    if not len(index):
        return b""
    runs = np.split(index, np.flatnonzero(np.diff(index) != 1) + 1)
    out, end = b"", 0
    for run in runs:
        out += _bytes(spans, _varint(1 << 3) + _zigzag(int(run[0]) - end) + _int(2, len(run)))
        end = int(run[-1]) + 1
    changes = np.diff(counts, prepend=0).astype(np.int64).tolist()
    return out + _bytes(deltas, b"".join(_zigzag(change) for change in changes))
