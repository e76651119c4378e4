"""deploy/kubernetes: rendered by kustomize, held to Kubernetes's own rules and to the embedded stack."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from collector.config import load
from steersman.orchestrator.gateway import Route, dynamic_configuration
from steersman.stack.compose import write_secrets

TOP = Path(__file__).parents[2]
MANIFESTS = TOP / "deploy" / "kubernetes"
DEMO = MANIFESTS / "overlays" / "demo"
FOLDERS = sorted(file.parent for file in MANIFESTS.rglob("kustomization.yaml"))
VERSION = "1.32"  # of Kubernetes, whose schemas they are held to


def documents(file: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(file.read_text()) if one is not None]


def rendered(folder: Path) -> list[dict[str, Any]]:
    if shutil.which("kubectl") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("kubectl is not installed")
    ran = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return [one for one in yaml.safe_load_all(ran.stdout) if one is not None]


@pytest.fixture(scope="module")
def demo() -> list[dict[str, Any]]:
    return rendered(DEMO)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((TOP / "demo_services" / "services.yaml").read_text())["services"]
    return found


def of_kind(found: list[dict[str, Any]], *kinds: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in found if one["kind"] in kinds}


def pods(found: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, one in of_kind(found, "Deployment", "StatefulSet").items():
        yield name, one["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(MANIFESTS)))
def test_a_kustomization_names_every_file_of_its_folder_and_none_that_is_not_there(folder: Path):
    (found,) = documents(folder / "kustomization.yaml")
    generated = [file for one in found.get("configMapGenerator", []) for file in one["files"]]
    named = [*found["resources"], *generated]
    assert all((folder / path).exists() for path in named)
    files = {path.name for path in folder.iterdir() if path.is_file()} - {"kustomization.yaml"}
    assert files == {path for path in named if (folder / path).is_file()}


@pytest.mark.peer
def test_everything_keeps_to_the_schemas_of_kubernetes(demo):
    assert len(demo) > 25
    for one in demo:
        kubernetes_validate.validate(one, VERSION, strict=True)


@pytest.mark.peer
def test_a_misspelt_key_would_be_found(demo):
    wrong = of_kind(demo, "Deployment")["catalog"]
    wrong = {**wrong, "spec": {**wrong["spec"], "replica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.peer
def test_every_pod_keeps_to_the_restricted_profile_that_its_namespace_asks_for(demo):
    (namespace,) = of_kind(demo, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in pods(demo):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        kinds = {key for volume in pod["volumes"] for key in volume} - {"name"}
        assert kinds <= {"configMap", "emptyDir", "secret", "projected", "persistentVolumeClaim"}, name
        for container in containers(pod):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name


@pytest.mark.peer
def test_every_container_is_bounded_probed_and_of_a_pinned_image(demo):
    for name, pod in pods(demo):
        for container in containers(pod):
            assert "memory" in container["resources"]["limits"], name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            tag = container["image"].partition(":")[2]
            assert tag, name
            assert tag != "latest", name
        for container in pod["containers"]:
            assert {"readinessProbe", "livenessProbe"} <= container.keys(), name


@pytest.mark.peer
def test_only_the_worker_has_a_token_for_the_cluster(demo):
    with_token = {name for name, pod in pods(demo) if pod.get("automountServiceAccountToken", True)}
    assert with_token == {"worker"}
    assert of_kind(demo, "ClusterRole", "ClusterRoleBinding") == {}
    (binding,) = of_kind(demo, "RoleBinding").values()
    subject = {"kind": "ServiceAccount", "name": "worker", "namespace": "steersman"}
    assert binding["subjects"] == [subject]


def test_the_workers_role_is_the_one_that_the_scaler_was_found_to_need():
    """docs/scalers.md has that; tests/remediation/scalers finds each of its verbs used, and no other."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (TOP / "docs" / "scalers.md").read_text(), re.DOTALL)

    def rights(role: dict[str, Any]) -> set[tuple[str, str, str]]:
        return {
            (group, resource, verb)
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    (role,) = [one for one in documents(MANIFESTS / "base" / "worker" / "rbac.yaml") if one["kind"] == "Role"]
    assert rights(role) == rights(yaml.safe_load(text))


@pytest.mark.peer
def test_the_worker_may_write_to_the_shops_services_alone(demo, services):
    (role,) = of_kind(demo, "Role").values()
    for rule in role["rules"]:
        assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
        if set(rule["verbs"]) - {"get", "list"} and rule["resources"] != ["pods/eviction"]:
            assert set(rule["resourceNames"]) == services.keys()


@pytest.mark.peer
def test_shop_is_that_of_the_embedded_stack(demo, services):
    deployments = of_kind(demo, "Deployment")
    for name, spec in services.items():
        deployment = deployments[name]
        assert "replicas" not in deployment["spec"], "applied again, it would undo what the worker has scaled"
        marks = deployment["metadata"]["annotations"]
        assert marks["steersman.minimum"] == str(spec["minimum"]), name
        assert marks["steersman.maximum"] == str(spec["maximum"]), name
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["args"] == [spec["command"][-1]], name
        told = {one["name"]: one.get("value") for one in container["env"]}
        assert spec["env"].items() <= told.items(), name


@pytest.mark.peer
def test_each_service_selects_the_pods_of_its_workload(demo):
    labels = {
        name: one["spec"]["template"]["metadata"]["labels"]
        for name, one in of_kind(demo, "Deployment", "StatefulSet").items()
    }
    for name, service in of_kind(demo, "Service").items():
        selector = service["spec"]["selector"]
        assert [chosen for chosen, has in labels.items() if selector.items() <= has.items()] == [name]


@pytest.mark.peer
def test_every_secret_that_is_read_is_one_that_is_made(demo, tmp_path):
    write_secrets(tmp_path)
    made = {file.name for file in tmp_path.iterdir()}
    text = yaml.safe_dump_all(demo, width=1000)
    read = set(re.findall(r"/run/secrets/steersman/([a-z_]+\.[a-z]+|[a-z_]+)", text))
    assert len(read) >= 6
    assert read <= made


def test_routes_are_those_that_the_orchestrator_writes(services):
    routes = {name: Route(spec["public"], (f"http://{name}:8000",)) for name, spec in services.items()}
    (found,) = documents(MANIFESTS / "base" / "gateway" / "routes.yml")
    assert found == dynamic_configuration(routes)


def test_the_collector_takes_its_configuration(services):
    configuration = load(DEMO / "collector.yml")
    assert configuration.global_.evaluation_interval == 1
    (found,) = documents(DEMO / "collector.yml")
    (shop,) = [job for job in found["scrape_configs"] if job["job_name"] == "shop"]
    assert set(shop["dns_sd_configs"][0]["names"]) == services.keys()
