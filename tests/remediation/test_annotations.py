"""Marks on dashboards, through the real grafana-client."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from remediation.annotations import Annotator


class Grafana(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers["Authorization"], body))
        answer = json.dumps({"id": len(self.server.seen), "message": "Annotation added"}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Authorization"], None))
        answer = json.dumps(self.server.marks).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def grafana():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Grafana)
    server.seen, server.status, server.marks = [], 200, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_action_is_marked_with_its_tags_and_time(grafana):
    annotator = Annotator(f"http://127.0.0.1:{grafana.server_port}", "a-secret")
    annotator.mark("catalog: 1 → 4", "remediation", "catalog", start_unix_ms=1000)
    annotator.mark("drill", "drill", start_unix_ms=1000, end_unix_ms=9000)
    annotator.close(10)
    (path, authorization, first), (_, _, second) = grafana.seen
    assert (path, authorization) == ("/api/annotations", "Bearer a-secret")
    assert (first["text"], first["tags"], first["time"]) == ("catalog: 1 → 4", ["remediation", "catalog"], 1000)
    assert (second["time"], second["timeEnd"]) == (1000, 9000)


def test_dashboards_that_are_away_or_refuse_are_said_once_and_hold_nothing_up(grafana, caplog):
    grafana.status = 403
    for url in (f"http://127.0.0.1:{grafana.server_port}", "http://127.0.0.1:1"):
        caplog.clear()
        annotator = Annotator(url, "a-secret")
        for _ in range(3):
            annotator.mark("x", start_unix_ms=1)
        annotator.close(10)
        complaints = [
            record.getMessage() for record in caplog.records if "could not be annotated" in record.getMessage()
        ]
        assert len(complaints) == 1
        assert "a-secret" not in complaints[0]


def test_what_others_have_marked_is_read_oldest_first(grafana):
    grafana.marks = [
        {"time": 1_790_000_060_000, "text": "catalog 2.1.0", "tags": ["deploy"]},
        {"time": 1_790_000_000_000, "text": "latency-surge", "tags": ["drill"]},
    ]
    annotator = Annotator(f"http://127.0.0.1:{grafana.server_port}", "a-secret")
    recent = annotator.recent(1_789_999_000_000, 1_790_000_100_000)
    assert recent == ["2026-09-21T14:13:20Z latency-surge [drill]", "2026-09-21T14:14:20Z catalog 2.1.0 [deploy]"]
    ((path, authorization, _),) = grafana.seen
    assert path == "/api/annotations?from=1789999000000&to=1790000100000&limit=50"
    assert authorization == "Bearer a-secret"


@pytest.mark.parametrize("marks", [None, {}, [{"text": "x"}], [{"time": "soon"}]])
def test_answer_that_is_no_list_of_marks_tells_of_no_changes(grafana, marks):
    grafana.marks = marks
    assert Annotator(f"http://127.0.0.1:{grafana.server_port}", "a-secret").recent(0, 1) == []


def test_without_dashboards_nothing_is_started():
    annotator = Annotator("", "")
    before = threading.active_count()
    annotator.mark("x", start_unix_ms=1)
    annotator.close()
    assert threading.active_count() == before
