"""How much may be in flight at once, so that a flood is told to wait instead of filling the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from collector.errors import LimitExceededError, TemporaryError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    # 4 MiB is what every gRPC server takes by default; an SDK's batch of 512 spans is about 0.3 MB.
    max_body_bytes: int = 4 << 20  # as received
    max_request_bytes: int = 16 << 20  # once decompressed
    max_requests: int = 64  # at once
    max_bytes_in_flight: int = 48 << 20  # decompressed; Arrow columns take about twice that


class Admission:
    """Counts requests and bytes in flight. Not for use from several threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._requests = 0
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
    def bytes(self, size: int) -> Iterator[None]:
        """
        Hold the memory of one decompressed request.

        Raises:
            LimitExceededError: the request alone is too large.
            TemporaryError: too large for now.
        """
        if size > self.limits.max_request_bytes:
            raise LimitExceededError(f"request of {size} bytes exceeds {self.limits.max_request_bytes}")
        if self._bytes and self._bytes + size > self.limits.max_bytes_in_flight:
            in_flight, limit = self._bytes, self.limits.max_bytes_in_flight
            raise TemporaryError(f"request of {size} bytes, with {in_flight} in flight, exceeds {limit}")
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size
