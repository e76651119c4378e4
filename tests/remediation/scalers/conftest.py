"""The systems that scalers talk to, each with the service `shop`: a real one where it can run here, else a stand-in."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import httpx
import pytest
from aws_server import CLUSTER, CREDENTIALS, AwsServer, running_aws
from container_engine import build_sleeper, running_engine
from fixed_answer import FixedAnswer
from kubernetes_api import EVERYTHING, KubernetesStandIn
from scaler_subject import Subject

from remediation.scalers.aws import AwsScaler
from remediation.scalers.bounds import MAXIMUM, MINIMUM
from remediation.scalers.containers import NUMBER, PROJECT, SERVICE, DockerScaler
from remediation.scalers.kubernetes import KubernetesScaler
from remediation.scalers.kubernetes_access import Access
from remediation.scalers.local import LocalScaler

ORCHESTRATOR_TOKEN = "scale-services"
KUBERNETES_TOKEN = "service-account-of-the-worker"
READY_WITHIN_S = 30.0


class Engine:
    """A Docker-compatible engine with one image."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.client = docker.DockerClient(base_url=url, version="1.41")
        self.image = build_sleeper(self.client, folder)

    def run(self, service: str, number: int, **labels: str):
        marks = {PROJECT: "demo", SERVICE: service, NUMBER: str(number), **labels}
        return self.client.containers.run(
            self.image,
            detach=True,
            name=f"demo-{service}-{number}",
            network_mode="host",
            labels=marks,
            environment={"COLOUR": "green"},
        )

    def running(self) -> dict[str, str]:
        return {one.name: f"{one.id} {one.attrs['State']['StartedAt']}" for one in self.client.containers.list()}

    def clear(self) -> None:
        for container in self.client.containers.list(all=True):
            container.remove(force=True)


@pytest.fixture(scope="session")
def started_engine(tmp_path_factory) -> Iterator[Engine]:
    with running_engine() as url:
        engine = Engine(url, tmp_path_factory.mktemp("image"))
        yield engine
        engine.clear()
        engine.client.close()


@pytest.fixture
def engine(started_engine) -> Iterator[Engine]:
    started_engine.clear()
    yield started_engine
    started_engine.clear()


@pytest.fixture(scope="session")
def started_cluster() -> Iterator[KubernetesStandIn]:
    stand_in = KubernetesStandIn()
    stand_in.roles[KUBERNETES_TOKEN] = EVERYTHING
    yield stand_in
    stand_in.close()


@pytest.fixture
def cluster(started_cluster) -> Iterator[KubernetesStandIn]:
    yield started_cluster
    started_cluster.clear()


@pytest.fixture
def connect_to(tmp_path) -> Iterator[Callable[..., KubernetesScaler]]:
    """A scaler with a kubeconfig for that URL."""
    made: list[KubernetesScaler] = []

    def connect(url: str, token: str = KUBERNETES_TOKEN, namespace: str | None = None) -> KubernetesScaler:
        file = tmp_path / f"kubeconfig-{len(made)}"
        file.write_text(f"""\
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: worker, namespace: shop}}}}]
clusters: [{{name: test, cluster: {{server: '{url}'}}}}]
users: [{{name: worker, user: {{token: {token}}}}}]
""")
        made.append(KubernetesScaler(Access.connect(namespace=namespace, config_file=file, context=None)))
        return made[-1]

    yield connect
    for scaler in made:
        scaler.close()


@pytest.fixture
def answering() -> Iterator[Callable[..., FixedAnswer]]:
    """Starts a server that answers everything alike: status, content type, body."""
    made: list[FixedAnswer] = []

    def start(status: int, content_type: str, body: str) -> FixedAnswer:
        made.append(FixedAnswer(status, content_type, body))
        return made[-1]

    yield start
    for server in made:
        server.close()


@pytest.fixture(scope="session")
def started_aws() -> Iterator[AwsServer]:
    with running_aws() as server:
        yield server


@pytest.fixture
def aws(started_aws, monkeypatch) -> Iterator[AwsServer]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    yield started_aws
    started_aws.clear(keep="shop")


@pytest.fixture(scope="session")
def started_orchestrator(tmp_path_factory) -> Iterator[str]:
    """The URL of a real one, with real processes as the replicas of `shop`."""
    folder = tmp_path_factory.mktemp("orchestrator")
    (folder / "token").write_text(ORCHESTRATOR_TOKEN)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(__file__).parents[2] / "support" / "orchestrator_process.py"
    first = random.randrange(20_000, 32_000, 50)  # below the ephemeral ports
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(program), str(folder), str(port), str(first), str(folder / "token")],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    process.stdin.write(b"shop")
    process.stdin.close()
    url = f"http://127.0.0.1:{port}"
    try:
        end_s = time.monotonic() + READY_WITHIN_S
        while not _serves(url):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end_s, (folder / "log").read_text()
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(READY_WITHIN_S)


def _serves(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v1/services/shop", trust_env=False).json()["ready"] == 2
    except httpx.HTTPError:
        return False


@pytest.fixture(params=["local", "docker", "deployment", "statefulset", "ecs", "asg"])
def subject(request) -> Iterator[Subject]:
    made = request.getfixturevalue(f"_{request.param}")
    made.wait_settled(2)
    yield made
    if made.kind in ("local", "docker"):  # the others' fixtures close theirs
        made.scaler.close()


@pytest.fixture
def _local(started_orchestrator) -> Subject:
    scaler = LocalScaler(started_orchestrator, ORCHESTRATOR_TOKEN)
    scaler.set_desired("shop", 2)

    def running() -> dict[str, str]:
        listed = httpx.get(f"{started_orchestrator}/api/v1/services/shop", trust_env=False).json()["instances"]
        return {one["id"]: f"{one['pid']}" for one in listed}

    return Subject(
        scaler=scaler,
        kind="local",
        name="shop",
        unknown="nothing",
        running=running,
        absent=lambda: LocalScaler("http://127.0.0.1:1", "x", timeout_s=1.0),
    )


@pytest.fixture
def _docker(started_engine) -> Subject:
    engine, scaler = started_engine, DockerScaler(started_engine.url, "demo")
    if not engine.running():  # to begin and end a container takes a while
        for number in (1, 2):
            engine.run("shop", number, **{MINIMUM: "1", MAXIMUM: "6"})
    scaler.set_desired("shop", 2)
    return Subject(
        scaler=scaler,
        kind="docker",
        name="shop",
        unknown="nothing",
        running=engine.running,
        absent=lambda: DockerScaler("tcp://127.0.0.1:1", "x", timeout_s=1.0),
    )


def _workload(plural: str, name: str, cluster: KubernetesStandIn, connect_to) -> Subject:
    cluster.add(plural, "shop", annotations={MINIMUM: "1", MAXIMUM: "6"})
    return Subject(
        scaler=connect_to(cluster.url),
        kind="kubernetes",
        name=name,
        unknown=name.replace("shop", "nothing"),
        running=lambda: {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in cluster.pods("shop")},
        absent=lambda: connect_to("http://127.0.0.1:1"),
    )


@pytest.fixture
def _deployment(cluster, connect_to) -> Subject:
    return _workload("deployments", "shop", cluster, connect_to)


@pytest.fixture
def _statefulset(cluster, connect_to) -> Subject:
    return _workload("statefulsets", "statefulset/shop", cluster, connect_to)


@pytest.fixture(scope="session")
def aws_scaler(started_aws) -> Iterator[AwsScaler]:
    """To make a client takes longer than to ask one."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in CREDENTIALS.items():
            patched.setenv(name, value)
        scaler = AwsScaler(cluster=CLUSTER, endpoint_url=started_aws.url)
        scaler.services()  # credentials are looked for with the first request
    yield scaler
    scaler.close()


@pytest.fixture
def _asg(aws, aws_scaler) -> Subject:
    if "shop" not in aws.groups:  # what makes an instance anew takes a while
        aws.add_group("shop", minimum=1, maximum=6, steersman_maximum="6")
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shop", DesiredCapacity=2)
    return Subject(
        scaler=aws_scaler,
        kind="aws",
        name="asg/shop",
        knows_ages=False,
        unknown="asg/nothing",
        running=lambda: {one: one for one in aws.instances("shop")},
        absent=lambda: AwsScaler(cluster=None, endpoint_url="http://127.0.0.1:1"),
    )


@pytest.fixture
def _ecs(aws, aws_scaler) -> Subject:
    if "shop" not in aws.services:
        aws.add_service("shop", tags={"steersman_minimum": "1", "steersman_maximum": "6"})
    aws.run_tasks("shop", 2)
    return Subject(
        scaler=aws_scaler,
        kind="aws",
        name="shop",
        unknown="nothing",
        running=lambda: {one: one for one in aws.tasks("shop")},
        deployed=lambda: aws.deployment("shop"),
        refills=False,
        absent=lambda: AwsScaler(cluster=CLUSTER, endpoint_url="http://127.0.0.1:1"),
    )
