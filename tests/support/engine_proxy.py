"""
Stands in for the socket proxy of compose.yaml, whose image is not to be had here: its `-allow…` arguments are in force,
and what they allow is passed on to the engine's socket.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_ALLOW = re.compile(r"-allow([A-Z]+)=(.+)")


class EngineProxyStandIn:
    """Method and path are matched as a whole; anything else gets 403 and is noted in `refused`."""

    def __init__(self, arguments: Sequence[str], engine_url: str) -> None:
        allowed = {match[1]: re.compile(match[2]) for match in map(_ALLOW.fullmatch, arguments) if match}
        passed: list[str] = []
        refused: list[str] = []
        self.passed, self.refused = passed, refused

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                path = urlsplit(self.path).path
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                pattern = allowed.get(self.command)
                if pattern is None or not pattern.fullmatch(path):
                    refused.append(f"{self.command} {path}")
                    self._reply(403, "text/plain", b"Forbidden")
                    return
                passed.append(f"{self.command} {path}")
                connection = _UnixConnection(engine_url.removeprefix("unix://"))
                kind = self.headers.get("Content-Type")
                connection.request(self.command, self.path, body or None, {"Content-Type": kind} if kind else {})
                answer = connection.getresponse()
                with contextlib.suppress(OSError, http.client.HTTPException):  # either end may go amid the events
                    self._pass_on(answer)
                connection.close()
                self.close_connection = True

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815  (the names that the server looks for)

            def _pass_on(self, answer: http.client.HTTPResponse) -> None:
                """Piece by piece, since events do not end."""
                self.send_response(answer.status)
                for name in ("Content-Type", "Content-Length", "Api-Version"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.send_header("Connection", "close")  # what has no length ends with it
                self.end_headers()
                while piece := answer.read1(1 << 16):
                    self.wfile.write(piece)
                    self.wfile.flush()

            def _reply(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                if kind:
                    self.send_header("Content-Type", kind)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"tcp://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
