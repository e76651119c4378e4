from __future__ import annotations

import httpx
import pytest
import typer
from trace_campaign import RECORDS, RunningCollector, log_request, trace_request

from steersman.cli.archive import moment_nano, run_export, run_import
from steersman.errors import ArchiveError, PeerError

PROTOBUF = {"content-type": "application/x-protobuf"}
NO_OPTIONS = {"since": "all", "until": "all", "only": None}


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    with RunningCollector.start(tmp_path_factory.mktemp("collector")) as running:
        for path, request in (("traces", trace_request), ("logs", log_request)):
            for number in range(3):
                url = f"{running.otlp_http}/v1/{path}"
                assert httpx.post(url, content=request(number), headers=PROTOBUF).status_code == 200
        yield running


@pytest.fixture
def where(collector):
    return {"url": collector.http, "token_file": collector.log.parent / "data" / "secrets" / "collector.token"}


def test_a_running_collector_is_exported_and_imports_nothing_twice(tmp_path, where, capsys):
    run_export(tmp_path, tmp_path / "out", **NO_OPTIONS, **where)
    run_import(tmp_path, tmp_path / "out", only=None, **where)
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = str(3 * RECORDS)
    assert [line[:2] for line in told[:2]] == [["spans", rows], ["logs", rows]]
    assert [line[:4] for line in told[2:]] == [["spans", "0", "stored,", rows], ["logs", "0", "stored,", rows]]
    with pytest.raises(ArchiveError, match=r"parquet is there already"):
        run_export(tmp_path, tmp_path / "out", **NO_OPTIONS, **where)


def test_a_range_leaves_out_the_rest(tmp_path, where, capsys):
    run_export(tmp_path, tmp_path / "none", since="1h", until="now", only="spans", **where)
    assert capsys.readouterr().out.split()[:2] == ["spans", "0"]
    run_import(tmp_path, tmp_path / "none", only=None, **where)
    assert capsys.readouterr().out.split()[:3] == ["spans", "0", "stored,"]


def test_what_cannot_be_is_one_clear_line(tmp_path, where):
    with pytest.raises(ArchiveError, match=r"holds no archive: spans\.parquet and logs\.parquet is not there"):
        run_import(tmp_path, tmp_path, only=None, **where)
    (tmp_path / "spans.parquet").write_bytes(b"not Parquet")
    with pytest.raises(ArchiveError, match="nothing was imported"):
        run_import(tmp_path, tmp_path, only=None, **where)
    with pytest.raises(ArchiveError, match=r"token file .* is not there"):
        run_export(tmp_path, tmp_path / "x", **NO_OPTIONS, url=where["url"], token_file=tmp_path / "none")
    wrong = tmp_path / "wrong.token"
    wrong.write_text("wrong")
    with pytest.raises(PeerError, match="bearer token"):
        run_export(tmp_path, tmp_path / "x", **NO_OPTIONS, url=where["url"], token_file=wrong)
    with pytest.raises(PeerError, match=r"127\.0\.0\.1:1 stopped answering: .*; nothing was kept"):
        run_export(tmp_path, tmp_path / "x", **NO_OPTIONS, url="http://127.0.0.1:1", token_file=wrong)
    assert not list((tmp_path / "x").iterdir())
    with pytest.raises(typer.BadParameter, match="is after"):
        run_export(tmp_path, tmp_path / "x", since="now", until="1h", only=None, **where)
    with pytest.raises(typer.BadParameter, match="not one of spans, logs"):
        run_import(tmp_path, tmp_path, only="metrics", **where)


def test_times_are_what_a_person_writes():
    now = 1_800_000_000.5
    assert moment_nano("now", now, "--to") == 1_800_000_000_500_000_000
    assert moment_nano("2h", now, "--from") == 1_799_992_800_500_000_000
    assert moment_nano("1700000000.25", now, "--from") == 1_700_000_000_250_000_000
    assert moment_nano("2023-11-14T22:13:20Z", now, "--from") == 1_700_000_000_000_000_000
    assert (moment_nano("all", now, "--from"), moment_nano("all", now, "--to")) == (0, 2**64 - 1)
    for wrong in ("", "yesterday", "-1", "1969-01-01T00:00:00Z", "9" * 20):
        with pytest.raises(typer.BadParameter):
            moment_nano(wrong, now, "--from")
