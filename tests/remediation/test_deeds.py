"""Steps beside scaling, through a real worker process: restart, run, call, ask, tell."""

from __future__ import annotations

import http.server
import json
import stat
import sys
import threading

import httpx
import pytest

TOKEN = "post-alerts"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
VERIFY = "{within: 1200ms, hold: 200ms, every: 50ms}"
SCRIPT = """#!{python}
import os, sys
with open({log!r}, "a") as file:
    print(os.environ["REMEDIATION_KEY"], *sys.argv[1:], sorted(os.environ), file=file)
print("flushed", sys.argv[1])
if sys.argv[1] == "stuck":
    import time
    time.sleep(60)
sys.exit(3 if sys.argv[1] == "broken" else 0)
"""


class Peer(http.server.BaseHTTPRequestHandler):
    """Takes calls and notifications; what it was sent is in `server.seen`."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.seen.append((self.path, dict(self.headers), body))
        self.send_response(500 if self.path == "/broken" else 204)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def peer():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Peer)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def deeds(mortal_worker_with, peer, tmp_path):
    """A worker whose policies are the given steps, for the alert HighRequestLatency."""
    script = tmp_path / "flush"
    script.write_text(SCRIPT.format(python=sys.executable, log=str(tmp_path / "ran.log")))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "pager.url").write_text(f"json://127.0.0.1:{peer.server_port}/pager")
    peer.seen.clear()

    def start(*steps: str, timeout: str = "20s"):
        lines = "\n".join(f"      - {step}" for step in steps)
        return mortal_worker_with(f"""
commands:
  flush: {{argv: [{script}, '{{what}}'], arguments: {{what: '[a-z]+'}}, timeout: {timeout}}}
notifiers:
  pager: {{url_file: {tmp_path}/pager.url}}
policies:
  - name: deeds
    match: ['alertname="HighRequestLatency"']
    guards: {{cooldown: 0s, patience: 1s, telemetry: 'telemetry{{job="{{{{ target }}}}"}}'}}
    steps:
{lines}
""")

    return start


def events(record):
    return [line["event"] for line in record["timeline"]]


def test_restart_that_helps_resolves_the_run(deeds, orchestrator, slow_until, alert):
    slow_until("cart", cured_by=lambda: orchestrator.restarts("cart"))
    worker = deeds(f"{{name: restart all, restart: {{}}, verify: {VERIFY}}}")
    (run_id,) = worker.post(alert("cart"))
    record = worker.wait_for_state(run_id, "resolved")
    (action,) = record["actions"]
    assert (action["action"], action["status"], action["from"]) == ("restart", "done", None)
    # Absolute: the replicas that were there when it was decided, so that a repetition restarts nothing twice.
    assert orchestrator.restarts("cart") == [action["at_unix_ms"]]


def test_command_is_run_with_its_checked_arguments_and_its_output_is_kept(deeds, slow_until, alert, tmp_path):
    slow_until("cart", cured_by=lambda: (tmp_path / "ran.log").exists())
    worker = deeds(
        f"{{name: flush, run: {{command: flush, arguments: {{what: '{{{{ target }}}}'}}}}, verify: {VERIFY}}}"
    )
    (run_id,) = worker.post(alert("cart"))
    record = worker.wait_for_state(run_id, "resolved")
    ran = (tmp_path / "ran.log").read_text()
    assert ran.startswith(f"{run_id}:0 cart ")
    assert "PATH" in ran
    assert "REMEDIATION_TOKEN_FILE" not in ran, "nothing of the worker's environment"
    assert [one["value"] for one in record["evidence"] if one["name"] == "output of flush"] == ["flushed cart\n"]


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("broken", "ended with 3"),
        ("stuck", "was killed after 1 s"),
        ("UPPER", "argument what: 'UPPER' does not match '[a-z]+'"),
        ("x; rm -r y", "does not match"),
    ],
)
def test_command_that_fails_is_escalated_with_what_it_said(deeds, slow_until, alert, what, told):
    slow_until("cart", cured_by=lambda: False)
    worker = deeds(
        f"{{name: flush, run: {{command: flush, arguments: {{what: '{what}'}}}}, verify: {VERIFY}}}",
        timeout="1s" if what == "stuck" else "20s",
    )
    (run_id,) = worker.post(alert("cart"))
    record = worker.wait_for_state(run_id, "escalated")
    assert told in record["outcome"]
    assert [action["status"] for action in record["actions"]] == ["failed"]


def test_call_carries_its_key_and_token_and_what_did_not_help_is_followed_by_the_next_step(
    deeds, peer, slow_until, alert, tmp_path
):
    slow_until("cart", cured_by=lambda: any(path == "/second" for path, _, _ in peer.seen))
    (tmp_path / "flag.token").write_text("a-secret")
    url = f"http://127.0.0.1:{peer.server_port}"
    worker = deeds(
        f"{{name: first, call: {{url: '{url}/broken'}}, verify: {VERIFY}}}",
        f"{{name: second, call: {{url: '{url}/second', body: 'off for {{{{ target }}}}', "
        f"token_file: {tmp_path}/flag.token}}, verify: {VERIFY}}}",
    )
    (run_id,) = worker.post(alert("cart"))
    record = worker.wait_for_state(run_id, "resolved")
    path, headers, body = peer.seen[-1]
    assert (path, body, headers["Idempotency-Key"]) == ("/second", "off for cart", f"{run_id}:1")
    assert headers["Authorization"] == "Bearer a-secret"
    assert [action["status"] for action in record["actions"]] == ["failed", "done"]
    assert "a-secret" not in json.dumps(record)


@pytest.mark.parametrize(("verdict", "state", "restarted"), [("approve", "resolved", 1), ("refuse", "escalated", 0)])
def test_person_is_asked_and_the_answer_decides(deeds, orchestrator, slow_until, alert, verdict, state, restarted):
    slow_until("cart", cured_by=lambda: orchestrator.restarts("cart"))
    worker = deeds(
        "{name: ask, approval: {question: 'restart {{ target }}?', within: 1m}}",
        f"{{name: restart all, restart: {{}}, verify: {VERIFY}}}",
    )
    (run_id,) = worker.post(alert("cart"))
    record = worker.wait_for_state(run_id, "awaiting_approval")
    assert record["approvals"][0]["question"] == "restart cart?"
    url = f"{worker.url}/api/v1/remediations/{run_id}/{verdict}"
    body = {"by": "ada", "reason": "seen it before"}
    assert httpx.post(url, json=body).status_code == 401
    assert httpx.post(url, json=body, headers=HEADERS).status_code == 200
    assert httpx.post(url, json=body, headers=HEADERS).status_code == 409, "answered once"
    record = worker.wait_for_state(run_id, state)
    assert len(orchestrator.restarts("cart")) == restarted
    assert any("by ada: seen it before" in line["detail"] for line in record["timeline"])


@pytest.mark.parametrize(("otherwise", "state"), [("approve", "resolved"), ("refuse", "escalated")])
def test_question_that_nobody_answers_ends_as_it_says(deeds, orchestrator, slow_until, alert, otherwise, state):
    slow_until("cart", cured_by=lambda: orchestrator.restarts("cart"))
    worker = deeds(
        f"{{name: ask, approval: {{question: 'restart?', within: 300ms, otherwise: {otherwise}}}}}",
        f"{{name: restart all, restart: {{}}, verify: {VERIFY}}}",
    )
    (run_id,) = worker.post(alert("cart"))
    record = worker.wait_for_state(run_id, state)
    assert any("nobody answered within 0.3 s" in line["detail"] for line in record["timeline"])


def test_question_outlives_the_worker_that_asked_it(deeds, orchestrator, slow_until, alert):
    slow_until("cart", cured_by=lambda: orchestrator.restarts("cart"))
    worker = deeds(
        "{name: ask, approval: {question: 'restart?', within: 1m}}",
        f"{{name: restart all, restart: {{}}, verify: {VERIFY}}}",
    )
    (run_id,) = worker.post(alert("cart"))
    worker.wait_for_state(run_id, "awaiting_approval")
    worker.kill()
    worker.start()
    url = f"{worker.url}/api/v1/remediations/{run_id}/approve"
    assert httpx.post(url, json={"by": "ada", "reason": "yes"}, headers=HEADERS).status_code == 200
    record = worker.wait_for_state(run_id, "resolved")
    assert events(record).count("asked") == 1
    assert len(orchestrator.restarts("cart")) == 1


def test_people_are_told_only_when_the_repair_has_failed(deeds, peer, slow_until, alert, tmp_path):
    slow_until("cart", cured_by=lambda: False)
    worker = deeds(
        f"{{name: restart all, restart: {{}}, verify: {VERIFY}}}",
        "{name: evidence, snapshot: {}}",
        "{name: page, notify: {to: [pager], body: '{{ annotations.summary }}'}}",
    )
    (run_id,) = worker.post(alert("cart"))
    record = worker.wait_for_state(run_id, "escalated")
    ((path, _, body),) = peer.seen
    assert path == "/pager"
    assert json.loads(body)["title"] == "HighRequestLatency on cart"
    assert json.loads(body)["message"] == f"cart is slow\n\nsteersman remediation show {run_id}"
    assert events(record).index("restart") < events(record).index("notified")


def test_command_that_may_have_had_its_effect_is_not_run_again(deeds, slow_until, alert, tmp_path):
    slow_until("cart", cured_by=lambda: False)
    worker = deeds(f"{{name: flush, run: {{command: flush, arguments: {{what: stuck}}}}, verify: {VERIFY}}}")
    (run_id,) = worker.post(alert("cart"))
    worker.wait_for(lambda: (tmp_path / "ran.log").exists(), "the command runs")
    worker.kill()
    worker.start()
    record = worker.wait_for_state(run_id, "escalated")
    assert "nobody knows whether it had its effect" in record["outcome"]
    assert len((tmp_path / "ran.log").read_text().splitlines()) == 1
    assert [action["status"] for action in record["actions"]] == ["unknown"]
