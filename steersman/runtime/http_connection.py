"""
One HTTP connection, which must get on: no client holds one by sending slowly, or by sending nothing.

uvicorn closes what idles between two requests, but waits for ever for the headers of one that has begun, and for its
body. So each connection has one timer here, for whichever of the two it waits for.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# From the connection, or a further request's first byte, to the end of the headers. An SDK gives a whole export 10 s.
HEADER_TIMEOUT_S = 10.0
# A body must bring so many bytes in each such time, unless it is us who do not read. Slower than any modem.
BODY_WINDOW_S = 20.0
BODY_WINDOW_BYTES = 4096
# What still comes is read and thrown away for so long: the kernel answers data that nobody reads with a reset, which
# would overtake the answer.
LINGER_S = 1.0
CONNECTION_LIMIT = 512  # for each port; Prometheus's (--web.max-connections)

_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class PromptConnection(HttpToolsProtocol):
    _timer: asyncio.TimerHandle | None = None
    _brought = 0  # bytes of the body since the timer was set
    _given_up = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTION_LIMIT:
            transport.write(_TOO_MANY)
            transport.close()
            return
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._given_up:
            return
        if self._timer is None and not self._answering():
            self._expect_headers()  # also for line ends that belong to no request, which the parser does not tell of
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._timer is None:
            self._expect_headers()

    def on_headers_complete(self) -> None:
        self._disarm()
        super().on_headers_complete()
        self._brought = 0
        self._timer = self.loop.call_later(BODY_WINDOW_S, self._body_late)

    def on_body(self, body: bytes) -> None:
        self._brought += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._disarm()
        super().on_message_complete()

    def _expect_headers(self) -> None:
        self._timer = self.loop.call_later(HEADER_TIMEOUT_S, self._headers_late)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _headers_late(self) -> None:
        self._timer = None
        if self._answering():  # the slow one is a further request; the answer to the one before goes on
            self._expect_headers()
        else:
            self._give_up()

    def _body_late(self) -> None:
        if self.flow.read_paused or self._brought >= BODY_WINDOW_BYTES:
            self._brought = 0
            self._timer = self.loop.call_later(BODY_WINDOW_S, self._body_late)
        else:
            self._timer = None
            self._give_up()

    def _give_up(self) -> None:
        self._given_up = True
        if self.transport.is_closing():
            return
        if self.scope is None or (self._answering() and self.cycle.response_started):
            self.transport.close()
            return
        if self.cycle is not None:
            self.cycle.disconnected = True  # what the application still says has no place any more
            self.cycle.message_event.set()
        self.transport.write(_TIMED_OUT)
        if self.transport.can_write_eof():  # TLS cannot
            self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
