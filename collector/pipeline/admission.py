"""How much may be in flight at once, so that a flood is told to wait instead of filling the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from collector.errors import LimitExceededError, TemporaryError

# Bodies that are still arriving, for each request that is worked on: slow senders must not keep the others out.
_ARRIVING_PER_REQUEST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    # 4 MiB is what every gRPC server takes by default; an SDK's batch of 512 spans is about 0.3 MB.
    max_body_bytes: int = 4 << 20  # as received; over gRPC, decompressed too
    max_request_bytes: int = 16 << 20  # once decompressed
    max_requests: int = 64  # at once
    max_bytes_in_flight: int = 48 << 20  # decompressed; Arrow columns take about twice that
    # Of one span, event, link or log record. SDKs stop at 128 by default (OpenTelemetry, "Span Limits").
    max_attributes: int = 1024
    # Of one value. SDKs set no bound by default; this much of one value is more than any page can show.
    max_attribute_bytes: int = 1 << 20


class Hold:
    """The memory that one request takes, as far as it is known."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.size = 0

    def to(self, size: int) -> None:
        """
        Hold `size` bytes in all; a hold does not shrink.

        Raises:
            TemporaryError: too much for now; what was held before still is.
        """
        if size > self.size:
            self._admission.enlarge(self.size, size)
            self.size = size


class Admission:
    """Counts requests and bytes in flight. Not for use from several threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._requests = 0
        self._arriving = 0
        self._bytes = 0

    @contextmanager
    def request(self) -> Iterator[None]:
        """
        Hold a place among the requests.

        Raises:
            TemporaryError: too many are in flight.
        """
        if self._requests >= self.limits.max_requests:
            raise TemporaryError(f"{self._requests} requests in flight, limit {self.limits.max_requests}")
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """
        Hold a place among the requests whose body is awaited.

        Raises:
            TemporaryError: too many are.
        """
        limit = self.limits.max_requests * _ARRIVING_PER_REQUEST
        if self._arriving >= limit:
            raise TemporaryError(f"{self._arriving} requests are arriving, limit {limit}")
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    @contextmanager
    def memory(self) -> Iterator[Hold]:
        """Nothing held yet."""
        hold = Hold(self)
        try:
            yield hold
        finally:
            self._bytes -= hold.size

    @contextmanager
    def bytes(self, size: int) -> Iterator[None]:
        """
        Hold the memory of one decompressed request.

        Raises:
            LimitExceededError: the request alone is too large.
            TemporaryError: too large for now.
        """
        if size > self.limits.max_request_bytes:
            raise LimitExceededError(f"request of {size} bytes exceeds {self.limits.max_request_bytes}")
        with self.memory() as hold:
            hold.to(size)
            yield

    def enlarge(self, held: int, size: int) -> None:
        """What `Hold.to` does. One request alone may hold more than the limit, or it could never be served."""
        others = self._bytes - held
        if others and others + size > self.limits.max_bytes_in_flight:
            limit = self.limits.max_bytes_in_flight
            raise TemporaryError(f"request of {size} bytes, with {others} in flight, exceeds {limit}")
        self._bytes += size - held
