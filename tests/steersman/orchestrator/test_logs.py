from __future__ import annotations

from pathlib import Path

from steersman.orchestrator import logs


def test_writer_goes_on_at_the_new_end_after_its_log_was_cut(tmp_path: Path):
    path = tmp_path / "part.log"
    with logs.open_log(path) as writer:
        writer.write(b"old line\n" * 100)
        logs.trim(tmp_path, largest_bytes=500, kept_bytes=90)
        writer.write(b"new line\n")
    assert path.read_bytes() == b"new line\n"
    assert logs.previous(path).read_bytes() == b"old line\n" * 10


def test_small_log_is_left_alone(tmp_path: Path):
    (tmp_path / "part.log").write_text("short\n")
    logs.trim(tmp_path)
    assert logs.tail(tmp_path / "part.log", 5) == ["short"]
    assert not logs.previous(tmp_path / "part.log").exists()


def test_start_sets_the_last_run_aside_and_drops_the_one_before(tmp_path: Path):
    (tmp_path / "a.log").write_text("last")
    (tmp_path / "a.log.1").write_text("before")
    (tmp_path / "gone-7.log.1").write_text("before")
    logs.set_aside(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.log.1": "last"}


def test_only_the_newest_replica_logs_of_a_service_are_kept(tmp_path: Path):
    for name in ("catalog-2", "catalog-10", "catalog-9", "cart-1", "catalog-search-1", "worker"):
        (tmp_path / f"{name}.log").touch()
    logs.forget_old_replicas(tmp_path, "catalog", kept=2)
    left = sorted(path.name.removesuffix(".log") for path in tmp_path.iterdir())
    assert left == ["cart-1", "catalog-10", "catalog-9", "catalog-search-1", "worker"]


def test_tail_of_no_lines_or_no_file_is_empty(tmp_path: Path):
    (tmp_path / "a.log").write_text("one\ntwo\n")
    assert logs.tail(tmp_path / "a.log", 0) == []
    assert logs.tail(tmp_path / "a.log", 1) == ["two"]
    assert logs.tail(tmp_path / "none.log", 5) == []
