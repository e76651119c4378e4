"""What is Kubernetes' own, on a stand-in for its API server; the contract is in test_contract.py."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import time
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes.config import incluster_config
from kubernetes_api import EVERYTHING, SCHEMA, KubernetesStandIn

from remediation.errors import ConflictError, PermanentScalerError, SettingsError, TemporaryScalerError
from remediation.scalers import kubernetes, kubernetes_access
from remediation.scalers.bounds import MAXIMUM, MINIMUM
from remediation.scalers.change import change_replicas
from remediation.scalers.kubernetes_access import Access
from remediation.scalers.workload import RESTARTED_AT

GUIDE = Path(__file__).parents[3] / "docs" / "scalers.md"
OURS = {MAXIMUM: "6"}


def documented_role() -> dict:
    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return yaml.safe_load(text)


def now_unix_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def scaler(cluster, connect_to):
    cluster.add("deployments", "shop", annotations=OURS)
    return connect_to(cluster.url)


def test_documented_role_is_all_that_it_needs_and_nothing_of_it_is_too_much(cluster, connect_to):
    role = documented_role()
    kubernetes_validate.validate(role, SCHEMA, strict=True)
    parts = [
        {"apiGroups": rule["apiGroups"], "resources": [resource], "verbs": [verb]}
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]

    def refused(rules) -> list[str]:
        """What is refused of everything that it does, by a role with these rules."""
        cluster.clear()
        cluster.roles["limited"] = rules
        cluster.add("deployments", "shop", annotations=OURS)
        cluster.add("statefulsets", "ledger", annotations=OURS)
        pod = cluster.pods("shop")[0]["metadata"]["name"]
        told = []
        for ask in (
            scaler.services,
            lambda: scaler.get("shop"),
            lambda: scaler.restart("shop", now_unix_ms(), pod),
            *(lambda name=name: scaler.set_desired(name, 3) for name in ("shop", "statefulset/ledger")),
            *(lambda name=name: scaler.restart(name, now_unix_ms()) for name in ("shop", "statefulset/ledger")),
        ):
            try:
                ask()
            except PermanentScalerError as error:
                told.append(str(error))
        return told

    scaler = connect_to(cluster.url, "limited")
    assert refused(role["rules"]) == []
    for left_out in parts:
        told = refused([part for part in parts if part is not left_out])
        assert told, left_out
        assert all("status 403" in one and "see docs/scalers.md" in one for one in told), told
        assert left_out["resources"][0] in told[0]


def test_wrong_token_is_a_permanent_error_that_does_not_tell_the_token(cluster, connect_to):
    cluster.add("deployments", "shop", annotations=OURS)
    stranger = connect_to(cluster.url, "a-secret-that-is-wrong")
    with pytest.raises(PermanentScalerError, match="status 401: Unauthorized: the worker's credentials") as error:
        stranger.get("shop")
    assert "a-secret" not in str(error.value)


def test_another_namespace_is_not_ours(cluster, connect_to):
    with pytest.raises(PermanentScalerError, match="namespace bank: deployment shop: status 403"):
        connect_to(cluster.url, namespace="bank").get("shop")


def test_conflict_with_a_status_is_tried_again(cluster, scaler):
    touches = iter(range(2))
    cluster.before_write = lambda: cluster.touch("deployments", "shop") if next(touches, None) is not None else None
    assert scaler.change_desired("shop", 2, 4).desired == 4
    assert cluster.found("deployments", "shop")["spec"]["replicas"] == 4
    assert [method for method, _, _ in cluster.requests].count("PATCH") == 3


def test_object_that_changes_all_the_time_is_given_up_for_now(cluster, scaler):
    cluster.before_write = lambda: cluster.touch("deployments", "shop")
    with pytest.raises(TemporaryScalerError, match="changed 5 times"):
        scaler.set_desired("shop", 4)
    with pytest.raises(TemporaryScalerError, match="changed 5 times"):
        scaler.restart("shop", now_unix_ms())


def test_number_that_somebody_sets_between_look_and_write_stays(cluster, scaler):
    cluster.before_write = lambda: cluster.touch("deployments", "shop", replicas=5)
    with pytest.raises(ConflictError, match="somebody else set shop to 5 meanwhile"):
        scaler.change_desired("shop", 2, 4)
    assert cluster.found("deployments", "shop")["spec"]["replicas"] == 5
    cluster.before_write = lambda: cluster.touch("deployments", "shop", replicas=1)
    status, why = change_replicas(scaler, "shop", 5, 6, patience_s=1.0)
    assert (status, cluster.found("deployments", "shop")["spec"]["replicas"]) == ("conflict", 1), why


def test_lost_answer_does_not_scale_twice(cluster, scaler):
    cluster.faulty = lambda method: method == "PATCH"
    cluster.faults = ["lost"]
    assert change_replicas(scaler, "shop", 2, 4, patience_s=5.0) == ("done", "")
    found = cluster.found("deployments", "shop")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (4, 2)
    assert [method for method, _, _ in cluster.requests].count("PATCH") == 1


def test_lost_answer_does_not_restart_or_replace_twice(cluster, scaler):
    at, pod = now_unix_ms(), cluster.pods("shop")[0]["metadata"]["name"]
    before = cluster.found("deployments", "shop")["metadata"]["generation"]
    for replica in (pod, None):
        cluster.faulty = lambda method: method in ("PATCH", "POST")
        cluster.faults = ["lost"]
        with pytest.raises(TemporaryScalerError, match="no answer"):
            scaler.restart("shop", at, replica)
        scaler.restart("shop", at, replica)
    assert [method for method, _, _ in cluster.requests].count("POST") == 1
    # A PATCH that meets a newer version of the object is refused and sent again; one of them changed something.
    assert cluster.found("deployments", "shop")["metadata"]["generation"] == before + 1


def test_reads_are_tried_again_and_writes_are_not(cluster, scaler):
    cluster.faults = [503, 429]
    assert scaler.get("shop").desired == 2
    cluster.faults = [500, 500, 500]
    with pytest.raises(TemporaryScalerError, match="status 500: etcdserver: request timed out"):
        scaler.get("shop")
    cluster.faulty, cluster.faults = (lambda method: method == "PATCH"), [500]
    with pytest.raises(TemporaryScalerError, match="scale shop: status 500"):
        scaler.set_desired("shop", 4)
    assert cluster.found("deployments", "shop")["spec"]["replicas"] == 2


def test_server_that_hangs_is_a_temporary_error_within_the_time(cluster, scaler, monkeypatch):
    monkeypatch.setattr(kubernetes, "TIMEOUTS", (0.2, 0.2))
    cluster.faulty, cluster.faults = (lambda method: method == "PATCH"), ["hang"]
    began_s = time.monotonic()
    with pytest.raises(TemporaryScalerError, match="scale shop: no answer: ReadTimeout"):
        scaler.set_desired("shop", 4)
    assert time.monotonic() - began_s < 10


@pytest.mark.parametrize(
    ("plural", "spec", "complaint"),
    [
        ("deployments", {"strategy": {"type": "Recreate"}}, "takes all of its replicas away at once"),
        ("deployments", {"paused": True}, "is paused"),
        ("statefulsets", {"updateStrategy": {"type": "OnDelete"}}, "would restart nothing"),
        (
            "statefulsets",
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}},
            "would restart only a part",
        ),
    ],
)
def test_restart_that_would_not_go_in_turn_is_refused(cluster, connect_to, plural, spec, complaint):
    cluster.add(plural, "odd", annotations=OURS, **spec)
    with pytest.raises(PermanentScalerError, match=complaint):
        connect_to(cluster.url).restart(
            {"deployments": "", "statefulsets": "statefulset/"}[plural] + "odd", now_unix_ms()
        )
    assert cluster.found(plural, "odd")["metadata"]["generation"] == 1


def test_later_restart_by_somebody_else_is_not_taken_back(cluster, scaler):
    at = now_unix_ms()
    later = dt.datetime.fromtimestamp(at / 1000 + 60, dt.timezone(dt.timedelta(hours=2))).isoformat(timespec="seconds")
    template = cluster.found("deployments", "shop")["spec"]["template"]
    template["metadata"]["annotations"] = {RESTARTED_AT: later}
    cluster.touch("deployments", "shop", template=template)
    scaler.restart("shop", at)
    found = cluster.found("deployments", "shop")
    assert found["spec"]["template"]["metadata"]["annotations"] == {RESTARTED_AT: later}


def test_disruption_budget_is_kept_and_told(cluster, scaler):
    cluster.budget_exhausted = True
    pod = cluster.pods("shop")[0]["metadata"]["name"]
    with pytest.raises(TemporaryScalerError, match=f"{pod} of shop stays for now: Cannot evict.*disruption budget"):
        scaler.restart("shop", now_unix_ms(), pod)
    assert pod in {one["metadata"]["name"] for one in cluster.pods("shop")}


@pytest.mark.parametrize(
    "called",
    [
        lambda pod: pod["metadata"]["uid"],
        lambda pod: pod["status"]["podIP"],
        lambda pod: pod["status"]["podIP"] + ":8080",
        lambda pod: "shop-" + pod["metadata"]["name"],
    ],
    ids=["uid", "address", "address and port", "service and pod"],
)
def test_replica_may_be_called_as_telemetry_calls_it(cluster, scaler, called):
    pod, *_ = cluster.pods("shop")
    scaler.restart("shop", now_unix_ms(), called(pod))
    assert pod["metadata"]["name"] not in {one["metadata"]["name"] for one in cluster.pods("shop")}


def test_replica_of_another_workload_is_left_alone(cluster, scaler):
    cluster.add("deployments", "bank", annotations=OURS)
    (pod, *_) = cluster.pods("bank")
    scaler.restart("shop", now_unix_ms(), pod["metadata"]["name"])
    assert pod["metadata"]["name"] in {one["metadata"]["name"] for one in cluster.pods("bank")}


@pytest.mark.parametrize(
    ("annotations", "complaint"),
    [
        ({}, "shop has no annotation steersman.maximum"),
        ({MAXIMUM: "many"}, "annotation steersman.maximum must be from 1 to 1000, got 'many'"),
        ({MAXIMUM: "-1"}, "got '-1'"),
        ({MAXIMUM: "٣"}, "got '٣'"),
        ({MAXIMUM: "6", MINIMUM: "0"}, "annotation steersman.minimum must be from 1 to 1000, got '0'"),
        ({MAXIMUM: "6", MINIMUM: "7"}, "steersman.minimum 7 is more than steersman.maximum 6"),
    ],
)
def test_workload_without_bounds_is_not_touched(cluster, connect_to, annotations, complaint):
    cluster.add("deployments", "shop", annotations=annotations)
    scaler = connect_to(cluster.url)
    for ask in (lambda: scaler.set_desired("shop", 3), lambda: scaler.restart("shop", now_unix_ms())):
        with pytest.raises(PermanentScalerError, match=complaint):
            ask()
    assert {method for method, _, _ in cluster.requests} == {"GET"}


def test_deployment_has_one_name_only(cluster, scaler):
    with pytest.raises(PermanentScalerError, match="deployment/shop is written shop here"):
        scaler.get("deployment/shop")
    cluster.add("statefulsets", "ledger", annotations=OURS)
    cluster.add("deployments", "unmarked")
    assert scaler.services() == ["shop", "statefulset/ledger"]


@pytest.mark.parametrize("body", ["[1]", "{}", '{"spec": 7}', '{"metadata": {"annotations": []}}', "<html></html>"])
def test_answer_of_something_else_is_a_temporary_error(connect_to, answering, body):
    with pytest.raises(TemporaryScalerError, match="deployment shop: unexpected answer"):
        connect_to(answering(200, "application/json", body).url).get("shop")


def make_certificate(folder: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "made up for tests")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made, secret = folder / "tls.crt", folder / "tls.key"
    made.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return str(made), str(secret)


@pytest.fixture
def pod(tmp_path, monkeypatch):
    """The inside of a pod: a service account, and an API server with a certificate of its own."""
    (tmp_path / "another").mkdir()
    certificate = make_certificate(tmp_path)
    stand_in = KubernetesStandIn(certificate=certificate)
    stand_in.roles["of-the-pod"] = EVERYTHING
    stand_in.add("deployments", "shop", annotations=OURS)
    (tmp_path / "token").write_text("of-the-pod")
    (tmp_path / "namespace").write_text("shop")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(stand_in.port))
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", certificate[0])
    monkeypatch.setattr(kubernetes_access, "SERVICE_ACCOUNT_NAMESPACE", tmp_path / "namespace")
    yield stand_in
    stand_in.close()


def test_pod_uses_its_service_account_and_trusts_its_cluster_alone(pod, tmp_path, monkeypatch):
    scaler = kubernetes.KubernetesScaler(Access.connect(namespace=None, config_file=None, context=None))
    assert scaler.set_desired("shop", 3).desired == 3
    scaler.close()
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", make_certificate(tmp_path / "another")[0])
    scaler = kubernetes.KubernetesScaler(Access.connect(namespace=None, config_file=None, context=None))
    with pytest.raises(TemporaryScalerError, match="CERTIFICATE_VERIFY_FAILED"):
        scaler.get("shop")
    scaler.close()


@pytest.mark.parametrize("text", [None, "", "{}", "apiVersion: v1\nkind: Config\ncurrent-context: gone\n"])
def test_kubeconfig_that_is_missing_or_wrong_is_told_at_the_start(tmp_path, text):
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match="REMEDIATION_SCALER=kubernetes: no credentials"):
        Access.connect(namespace=None, config_file=file, context=None)
