"""A whole worker on Kubernetes' stand-in: from an alert to replicas, and what its record says."""

from __future__ import annotations

import psutil
import pytest
from kubernetes_api import EVERYTHING

from remediation.scalers.bounds import MAXIMUM

POLICIES = """
limits: {max_actions_per_hour: 1000, max_concurrent: 100, blast_radius: {services: 1, replicas: 0.5}}
policies:
  - name: scale-out
    match: ['alertname="HighRequestLatency"', 'service="web"']
    steps:
      - name: traffic away
        shift_traffic: {away_from: a}
        verify: {within: 2s, hold: 200ms, every: 50ms}
      - name: add replicas
        scale: {replicas: 'wanted{job="{{ target }}"}'}
        verify: {within: 30s, hold: 200ms, every: 50ms}
    guards: &guards {cooldown: 0s, patience: 3s, telemetry: 'telemetry{job="{{ labels.service }}"}'}
    scale_in: {replicas: 'wanted{job="{{ target }}"}', stabilisation: 200ms, every: 50ms, settle: 100ms}
  - name: replace
    match: ['alertname="HighRequestLatency"', 'service="ledger"']
    target: 'statefulset/{{ labels.service }}'
    steps:
      - name: another pod
        replace: {replica: '{{ annotations.pod }}'}
        verify: {within: 30s, hold: 200ms, every: 50ms}
    guards: *guards
"""
MOST_BYTES = 250 << 20  # of a worker with a client of Kubernetes; the collector and a worker without it aim at as much


@pytest.fixture
def worker(worker_process, orchestrator, prometheus, cluster, tmp_path):
    cluster.roles["of-the-worker"] = EVERYTHING
    (tmp_path / "kubeconfig").write_text(f"""\
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: worker, namespace: shop}}}}]
clusters: [{{name: test, cluster: {{server: '{cluster.url}'}}}}]
users: [{{name: worker, user: {{token: of-the-worker}}}}]
""")
    (tmp_path / "policies.yaml").write_text(POLICIES)
    running = worker_process(tmp_path, orchestrator, prometheus)
    running.environment = {
        "REMEDIATION_SCALER": "kubernetes",
        "REMEDIATION_KUBERNETES_CONFIG": str(tmp_path / "kubeconfig"),
    }
    begin(running)
    yield running
    running.kill()


def begin(worker) -> None:
    """It loads Kubernetes' client, which takes its time on a machine that is busy."""
    worker.launch()
    worker.wait_for(worker._ready, "the worker is ready", within_s=100)


@pytest.mark.timeout(240)
def test_alerts_become_replicas_once_and_the_record_says_which(worker, cluster, slow_until, alert):
    cluster.add("deployments", "web", annotations={MAXIMUM: "6"}, replicas=1)
    cluster.add("statefulsets", "ledger", annotations={MAXIMUM: "6"}, replicas=2)
    slow_until("web", wanted=3.0, cured_by=lambda: cluster.found("deployments", "web")["status"]["readyReplicas"] >= 3)
    old = cluster.pods("ledger")[0]["metadata"]
    slow_until("ledger", cured_by=lambda: old["uid"] not in {pod["metadata"]["uid"] for pod in cluster.pods("ledger")})
    log = (worker.directory / "worker.log").read_text()
    assert "policy scale-out, step 'traffic away': the scaler kubernetes does not support shift_traffic" in log

    ails = alert("ledger")
    ails["annotations"]["pod"] = old["name"]
    (replacing,) = worker.post(ails)
    told = worker.wait_for_state(replacing, "resolved", within_s=60)
    (action,) = told["actions"]
    assert (action["action"], action["target"], action["status"]) == ("replace", "statefulset/ledger", "done")
    assert action["reason"].endswith("another follows when it goes: of 2 that are ready, 1 serve meanwhile")

    cluster.faulty, cluster.faults = (lambda method: method == "PATCH"), ["stuck"]
    (scaling,) = worker.post(alert("web"))
    worker.wait_for(lambda: cluster.found("deployments", "web")["spec"]["replicas"] == 3, "it is scaled", within_s=60)
    worker.kill()  # before it has had an answer
    begin(worker)
    told = worker.wait_for_state(scaling, "resolved_pending", within_s=60)
    assert [(one["from"], one["to"], one["status"]) for one in told["actions"]] == [(1, 3, "done")]
    assert [method for method, _, _ in cluster.requests].count("PATCH") == 1
    refusals = [one["detail"] for one in told["timeline"] if one["event"] == "refused"]
    assert refusals == ["traffic away: scaler: this worker has nothing that could shift traffic; see its settings"]
    assert psutil.Process(worker.process.pid).memory_info().rss < MOST_BYTES
