"""
Requests on disk, in the order they came, until the destination has them.

Beside the files of the log lies `cursor`: up to where all is delivered. It is written over in place and not synced, so
it survives the death of the process; if the machine dies it may be behind, and that much is delivered again.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.errors import CollectorError, TemporaryError
from collector.forward.queue_log import START, Place, QueueLog
from collector.forward.record import QueuedRequest
from collector.storage.framing import frame, frames
from collector.storage.seal import Seal, Unsealed

# By which requests that are sent again are known; SDKs try again for seconds. About 8 MB.
REMEMBERED = 65_536
_CURSOR = struct.Struct("<II")
_UNSEALED = Unsealed()


@dataclass(frozen=True, slots=True)
class Taken:
    place: Place
    request: QueuedRequest


class QueueFullError(TemporaryError):
    """the queue of traces holds 1048570 of 1048576 bytes; 600 more find room once some are delivered"""


class DiskQueue:
    """`append` belongs to one thread, `take` and `done` to another."""

    def __init__(self, name: str, directory: Path, *, max_bytes: int, seal: Seal) -> None:
        self.name = name
        self.max_bytes = max_bytes  # on disk and not delivered; of what is delivered, less than a file stays
        self._directory = directory
        self._log = QueueLog(directory, seal)
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._cursor_fd = -1
        self._cursor = self._read_to = START
        self._ahead: deque[Taken] = deque()  # read and not taken
        self._outstanding: deque[Taken] = deque()  # taken, and not all before and with it are done
        self._again: deque[Taken] = deque()  # of those outstanding, what is to be taken once more
        self._done: set[Place] = set()
        self._counting = threading.Lock()
        self.requests = 0  # not delivered
        self.items = 0  # not delivered
        self.repeated = 0  # requests that were there already

    @classmethod
    def open(cls, name: str, directory: Path, *, max_bytes: int, seal: Seal = _UNSEALED) -> DiskQueue:
        """
        Raises:
            CollectorError: the files cannot be read or written, or another version wrote them.
        """
        queue = cls(name, directory, max_bytes=max_bytes, seal=seal)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            queue._load()
        except OSError as error:
            raise CollectorError(f"cannot open the queue {directory}: {error}") from error
        return queue

    @property
    def size(self) -> int:
        """Bytes that are not delivered."""
        return self._log.bytes_after(self._cursor)

    @property
    def torn_bytes(self) -> int:
        """That a crash left unreadable; of acknowledged requests only if the disk lost them."""
        return self._log.torn_bytes

    @property
    def oldest_ms(self) -> int | None:
        """When the first of what is not delivered was queued, once it is taken; Unix milliseconds."""
        first = self._outstanding or self._ahead
        return first[0].request.queued_ms if first else None

    def append(self, requests: Sequence[QueuedRequest]) -> None:
        """
        Return once they are durable; those that are there already are not written again.

        Raises:
            QueueFullError, TemporaryError: none of them is.
        """
        fresh = {request.digest: request for request in requests if request.digest not in self._known}
        if fresh:
            payloads = [request.payload() for request in fresh.values()]
            size, new = self.size, sum(map(len, payloads))
            if size + new > self.max_bytes:
                raise QueueFullError(
                    f"the queue of {self.name} holds {size} of {self.max_bytes} bytes; {new} more find room once some"
                    " are delivered"
                )
            try:
                self._log.append(payloads)
            except OSError as error:
                raise TemporaryError(f"the queue of {self.name} cannot be written: {error}") from error
            self._remember(fresh)
            self._count(len(fresh), sum(request.items for request in fresh.values()))
        self.repeated += len(requests) - len(fresh)

    def take(self) -> Taken | None:
        """
        The next request, once; after `rewind` or a restart those that are not done come again. None: there is none now.

        Raises:
            OSError: the file cannot be read.
        """
        if self._again:
            return self._again.popleft()
        while not self._ahead:
            records, read_to = self._log.read(self._read_to)
            if read_to == self._read_to:
                return None
            self._read_to = read_to
            self._ahead.extend(Taken(place, QueuedRequest.read(payload)) for place, payload in records)
        taken = self._ahead.popleft()
        self._outstanding.append(taken)
        return taken

    def rewind(self) -> None:
        """What is taken and not done is taken once more."""
        self._again = deque(taken for taken in self._outstanding if taken.place not in self._done)

    def done(self, taken: Taken) -> None:
        """
        Not to be delivered again. In any order, each once.

        Raises:
            OSError: the cursor cannot be written.
        """
        self._done.add(taken.place)
        self._count(-1, -taken.request.items)
        cursor = self._cursor
        while self._outstanding and self._outstanding[0].place in self._done:
            cursor = self._outstanding.popleft().place
            self._done.remove(cursor)
        if cursor == self._cursor:
            return
        os.pwrite(self._cursor_fd, frame(_CURSOR.pack(*cursor)), 0)
        before, self._cursor = self._cursor, cursor
        if cursor.segment > before.segment:
            self._log.remove_before(cursor.segment)

    def close(self) -> None:
        self._log.close()
        os.close(self._cursor_fd)

    def _load(self) -> None:
        self._cursor_fd = os.open(self._directory / "cursor", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for cursor, _ in frames(os.pread(self._cursor_fd, 64, 0)):
            self._cursor = self._read_to = Place(*_CURSOR.unpack(cursor))
        for place, payload in self._log.load():
            request = QueuedRequest.read(payload)
            self._remember({request.digest: request})
            if place > self._cursor:
                self._count(1, request.items)
        self._log.remove_before(self._cursor.segment)

    def _remember(self, requests: dict[bytes, QueuedRequest]) -> None:
        self._known |= dict.fromkeys(requests)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _count(self, requests: int, items: int) -> None:
        with self._counting:
            self.requests += requests
            self.items += items
