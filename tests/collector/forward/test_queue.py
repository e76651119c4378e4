from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.errors import CollectorError, TemporaryError
from collector.forward import queue_log
from collector.forward.queue import DiskQueue, QueueFullError
from collector.forward.record import ForeignRecordError, QueuedRequest
from collector.receivers.otlp_ingest import digest_of
from collector.storage.encryption import EncryptionError, EncryptionKey
from collector.storage.framing import frame
from collector.storage.seal import AesSeal


def queued(text: str) -> QueuedRequest:
    request = text.encode()
    return QueuedRequest.of(request, items=len(text), now_ms=1_000, digest=digest_of(request))


def opened(directory: Path, **options) -> DiskQueue:
    return DiskQueue.open("traces", directory, **{"max_bytes": 1 << 20} | options)


def taken(queue: DiskQueue) -> list[str]:
    """All that can be taken now; each is done."""
    found = []
    while (one := queue.take()) is not None:
        found.append(one.request.request().decode())
        queue.done(one)
    return found


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.queue"))


def test_requests_are_taken_once_in_the_order_they_came(tmp_path):
    queue = opened(tmp_path)
    queue.append([queued("one"), queued("two")])
    assert (queue.requests, queue.items) == (2, 6)
    queue.append([queued("three")])
    assert taken(queue) == ["one", "two", "three"]
    assert queue.take() is None
    assert (queue.requests, queue.items, queue.size) == (0, 0, 0)
    queue.append([queued("four")])
    assert taken(queue) == ["four"]


def test_what_is_not_done_comes_again_after_a_restart_and_what_is_done_does_not(tmp_path):
    queue = opened(tmp_path)
    queue.append([queued(text) for text in ("one", "two", "three", "four")])
    first, _second, third = queue.take(), queue.take(), queue.take()
    queue.done(first)
    queue.done(third)  # behind one that is not: it comes again
    assert (queue.requests, queue.items) == (2, 7)
    again = opened(tmp_path)
    assert (again.requests, again.items) == (3, 12)
    assert taken(again) == ["two", "three", "four"]
    assert opened(tmp_path).take() is None


def test_rewinding_brings_back_what_is_taken_and_not_done_only(tmp_path):
    queue = opened(tmp_path)
    queue.append([queued(text) for text in ("one", "two", "three")])
    _first, second = queue.take(), queue.take()
    queue.done(second)
    queue.rewind()
    assert taken(queue) == ["one", "three"]
    assert queue.requests == 0


def test_files_go_when_all_in_them_is_delivered(tmp_path, monkeypatch):
    monkeypatch.setattr(queue_log, "SEGMENT_BYTES", 200)
    queue = opened(tmp_path)
    for number in range(12):
        queue.append([queued(f"request {number}")])
    assert len(files(tmp_path)) > 2
    assert len(taken(queue)) == 12
    assert len(files(tmp_path)) == 1  # which is written on
    queue.append([queued("one more")])
    assert taken(opened(tmp_path)) == ["one more"]


def test_a_torn_end_is_passed_over_and_what_follows_has_a_file_of_its_own(tmp_path):
    queue = opened(tmp_path)
    queue.append([queued("one"), queued("two")])
    path = tmp_path / files(tmp_path)[0]
    path.write_bytes(path.read_bytes() + frame(queued("torn").payload())[:-3])
    again = opened(tmp_path)
    assert again.torn_bytes > 0
    again.append([queued("three")])
    assert len(files(tmp_path)) == 2
    assert taken(again) == ["one", "two", "three"]


def test_bytes_that_change_on_the_disk_lose_no_other_file(tmp_path, monkeypatch):
    monkeypatch.setattr(queue_log, "SEGMENT_BYTES", 1)
    queue = opened(tmp_path)
    for text in ("one", "two", "three"):
        queue.append([queued(text)])
    path = tmp_path / files(tmp_path)[1]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    queue.append([queued("four")])
    (tmp_path / files(tmp_path)[2]).unlink()  # nor does a file that somebody removes
    assert taken(queue) == ["one", "four"]
    assert queue.torn_bytes > 0
    assert taken(opened(tmp_path)) == []


def test_a_full_queue_refuses_until_something_is_delivered(tmp_path):
    queue = opened(tmp_path, max_bytes=400)
    stored = 0
    while queue.size < 300:
        queue.append([queued(f"request {stored}")])
        stored += 1
    with pytest.raises(QueueFullError, match="the queue of traces holds"):
        queue.append([queued("one"), queued("two")])
    assert 2 <= stored < 10
    assert queue.size <= 400
    queue.done(queue.take())
    queue.append([queued("another")])
    assert len(taken(opened(tmp_path))) == stored


def test_a_request_that_is_sent_again_is_queued_once_also_after_a_restart(tmp_path):
    queue = opened(tmp_path)
    queue.append([queued("one"), queued("one")])
    queue.append([queued("one"), queued("two")])
    assert queue.repeated == 2
    again = opened(tmp_path)
    again.append([queued("two")])
    assert again.repeated == 1
    assert taken(again) == ["one", "two"]
    again.append([queued("two")])  # delivered, but its file is still there
    assert taken(again) == []


def test_a_write_that_fails_leaves_nothing_and_may_be_repeated(tmp_path, monkeypatch):
    queue = opened(tmp_path)
    queue.append([queued("one")])

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(TemporaryError, match="No space left"):
            queue.append([queued("two")])
    assert queue.requests == 1
    queue.append([queued("two")])
    assert queue.take().request.request() == b"one"
    queue.close()
    assert taken(opened(tmp_path)) == ["one", "two"]


def test_a_record_larger_than_one_read_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(queue_log, "READ_BYTES", 16)
    queue = opened(tmp_path)
    texts = [os.urandom(300).hex(), "short", os.urandom(500).hex()]
    queue.append([queued(text) for text in texts])
    assert taken(queue) == texts


def test_a_record_of_another_version_is_refused_at_start(tmp_path):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "00000001.queue").write_bytes(frame(b"\x07" + queued("one").payload()[1:]))
    with pytest.raises(ForeignRecordError, match="is not of version 1"):
        opened(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CollectorError, match=r"cannot open the queue .*file/traces"):
        opened(tmp_path / "file" / "traces")


def test_a_sealed_queue_holds_nothing_that_can_be_read_without_the_key(tmp_path):
    key = EncryptionKey(b"k" * 32)
    queue = opened(tmp_path, seal=AesSeal(key, "forward"))
    secret = "a name that nobody is to read"
    queue.append([QueuedRequest(1, len(secret), 1, digest_of(b""), secret.encode())])
    assert secret.encode() not in (tmp_path / files(tmp_path)[0]).read_bytes()
    again = opened(tmp_path, seal=AesSeal(key, "forward"))
    assert again.take().request.packed == secret.encode()
    with pytest.raises(EncryptionError):
        opened(tmp_path, seal=AesSeal(EncryptionKey(b"K" * 32), "forward"))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 3)),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("done"), st.integers(0, 5)),
        st.just(("restart", 0)),
        st.just(("rewind", 0)),
    ),
    max_size=40,
)


@given(steps)
@settings(deadline=None, max_examples=40)
def test_whatever_happens_nothing_is_lost_and_all_is_in_order(script):
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(queue_log, "SEGMENT_BYTES", 300)
        patched.setattr(queue_log, "READ_BYTES", 120)
        queue, written, delivered, flying = opened(Path(name)), 0, set(), []
        for step, count in script:
            match step:
                case "append":
                    queue.append([queued(str(number)) for number in range(written, written + count)])
                    written += count
                case "take":
                    flying += [one for _ in range(count) if (one := queue.take()) is not None]
                    numbers = [int(one.request.request()) for one in flying]
                    assert len(set(numbers)) == len(numbers)
                case "done" if count < len(flying):
                    one = flying.pop(count)
                    queue.done(one)
                    delivered.add(int(one.request.request()))
                case "restart":
                    queue.close()
                    queue, flying = opened(Path(name)), []
                case "rewind":
                    queue.rewind()
                    flying = []
        queue.rewind()
        rest = [int(text) for text in taken(queue)]
        assert rest == sorted(rest)
        assert delivered | set(rest) == set(range(written))
        assert queue.requests == 0
        queue.close()
