"""A proxy before a TCP server that can hold what a client sends, to kill the client just then."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class HoldingProxy:
    """`hold` is called with what a client sends; what it returns is passed on. One that raises drops the connection."""

    def __init__(self, port: int) -> None:
        self.hold: Callable[[bytes], bytes] = lambda data: data
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                for source, target, held in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass, args=(source, target, held), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, held: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(self.hold(data) if held else data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
