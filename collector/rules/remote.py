"""A Prometheus, or a collector, asked over its HTTP API: what lint and backtests read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple

import httpx
import numpy as np
from numpy.typing import NDArray

from collector.errors import BadRequestError, LimitExceededError, TemporaryError, UnsupportedError
from collector.model.series import ABSENT, Labels, labels_of

MAX_POINTS = 11_000  # steps that Prometheus answers at once (web/api/v1/api.go, queryRange)
TIMEOUT_S = 130.0  # a little over Prometheus's own query timeout of two minutes
MAX_ANSWER_BYTES = 256 << 20  # five million samples; more at once is a query to be narrowed
_RETRIABLE = (502, 503, 504)


@dataclass(frozen=True, slots=True)
class Grid:
    """Evaluation times: `start_ms`, then every `step_ms`, `count` of them."""

    start_ms: int
    step_ms: int
    count: int

    @property
    def times_ms(self) -> NDArray[np.int64]:
        return self.start_ms + np.arange(self.count, dtype=np.int64) * self.step_ms

    @property
    def end_ms(self) -> int:
        """The last time; before the start if there is none."""
        return self.start_ms + (self.count - 1) * self.step_ms

    def shifted(self, by_ms: int) -> Grid:
        return Grid(self.start_ms + by_ms, self.step_ms, self.count)

    def chunks(self, size: int) -> Iterator[tuple[int, Grid]]:
        """Parts of at most `size` times, each with the position of its first."""
        for first in range(0, self.count, size):
            count = min(size, self.count - first)
            yield first, Grid(self.start_ms + first * self.step_ms, self.step_ms, count)


@dataclass(frozen=True, slots=True)
class Table:
    """Series over a grid."""

    labels: tuple[Labels, ...]  # s of them
    values: NDArray[np.float64]  # [s, n], ABSENT where a series has no value at that time


class Samples(NamedTuple):
    """Of one series, as they are stored, without staleness markers."""

    labels: Labels
    timestamps_ms: NDArray[np.int64]
    values: NDArray[np.float64]


class Remote:
    """
    Every method raises:
        TemporaryError: no answer, or none now; names the URL.
        BadRequestError: the query is refused; with the peer's words.
        LimitExceededError: the answer is larger than MAX_ANSWER_BYTES.
        UnsupportedError: the answer holds native histograms.

    Args:
        url: e.g. `http://127.0.0.1:9090`, with a path if the API is below one.
        token: sent as a bearer token.
    """

    def __init__(self, url: str, *, token: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(trust_env=False, timeout=timeout_s, headers=headers)

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._client.close()

    def ask(self, path: str, parameters: Mapping[str, str | Sequence[str]], *, method: str = "GET") -> Any:
        """The `data` of an answer of /api/v1/`path`."""
        url = f"{self.url}/api/v1/{path}"
        sent: dict[str, Any] = {"params" if method == "GET" else "data": dict(parameters)}
        try:
            with self._client.stream(method, url, **sent) as answer:
                body = _bounded(answer, url)
            document = json.loads(body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TemporaryError(f"{self.url} does not answer: {error or type(error).__name__}") from error
        except ValueError as error:
            raise TemporaryError(f"{url} answered {answer.status_code} with something that is not JSON") from error
        if not isinstance(document, dict) or document.get("status") != "success":
            words = document.get("error") if isinstance(document, dict) else None
            kind = TemporaryError if answer.status_code in _RETRIABLE else BadRequestError
            raise kind(f"{self.url}: {words or f'answered {answer.status_code}'}")
        return document.get("data")

    def instant(self, expr: str, at_ms: int) -> list[tuple[Labels, float]]:
        """A vector; a scalar is one of a single element without labels."""
        data = self.ask("query", {"query": expr, "time": _seconds(at_ms)}, method="POST")
        with _understood(self.url):
            if data["resultType"] == "scalar":
                return [((), float(data["result"][1]))]
            _refuse_histograms(expr, data)
            return [(labels_of(one["metric"]), float(one["value"][1])) for one in data["result"]]

    def samples(self, selector: str, *, min_ms: int, max_ms: int) -> list[Samples]:
        """The stored samples of a selector in [min_ms, max_ms], without staleness markers."""
        window_ms = max_ms - min_ms + 1  # a window is open to the left in Prometheus 3, closed before
        data = self.ask("query", {"query": f"{selector}[{window_ms}ms]", "time": _seconds(max_ms)}, method="POST")
        found = []
        with _understood(self.url):
            _refuse_histograms(selector, data)
            for one in data["result"]:
                times = np.array([round(float(at) * 1000) for at, _ in one.get("values", [])], dtype=np.int64)
                values = np.array([float(value) for _, value in one.get("values", [])])
                kept = times >= min_ms
                found.append(Samples(labels_of(one["metric"]), times[kept], values[kept]))
        return found

    def range(self, expr: str, grid: Grid) -> Table:
        """An expression at every time of a grid, asked for in as many parts as Prometheus wants."""
        rows: dict[Labels, NDArray[np.float64]] = {}
        for first, part in grid.chunks(MAX_POINTS):
            parameters = {
                "query": expr,
                "start": _seconds(part.start_ms),
                "end": _seconds(part.end_ms),
                "step": _seconds(part.step_ms),
            }
            data = self.ask("query_range", parameters, method="POST")
            with _understood(self.url):
                _refuse_histograms(expr, data)
                for one in data["result"]:
                    row = rows.setdefault(labels_of(one["metric"]), np.full(grid.count, ABSENT))
                    points = one.get("values", [])
                    if not points:
                        continue
                    times = np.array([float(at) for at, _ in points]) * 1000
                    at = first + np.rint((times - part.start_ms) / part.step_ms).astype(np.int64)
                    row[at] = [float(value) for _, value in points]
        values = np.array(list(rows.values())) if rows else np.empty((0, grid.count))
        return Table(tuple(rows), values)

    def label_values(self, label: str, selector: str | None = None) -> set[str]:
        return set(self.ask(f"label/{label}/values", {"match[]": selector} if selector else {}) or ())

    def label_names(self, selector: str) -> set[str]:
        return set(self.ask("labels", {"match[]": selector}) or ())

    def rule_groups(self) -> list[dict[str, Any]]:
        """The groups in force, as /api/v1/rules lists them."""
        data = self.ask("rules", {})
        with _understood(self.url):
            return list(data["groups"])


def _refuse_histograms(expr: str, data: Any) -> None:
    if any("histogram" in one or "histograms" in one for one in data["result"]):
        raise UnsupportedError(f"{expr!r} yields native histograms, which are not replayed")


def _seconds(unix_ms: int) -> str:
    return f"{unix_ms // 1000}.{unix_ms % 1000:03d}"


def _bounded(answer: httpx.Response, url: str) -> bytes:
    body = bytearray()
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise LimitExceededError(f"the answer of {url} exceeds the limit of {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


@contextlib.contextmanager
def _understood(url: str) -> Iterator[None]:
    """Whatever does not have the shape of Prometheus's answers is one error."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise TemporaryError(f"{url} answered something that is not Prometheus's format: {error!r}") from error
