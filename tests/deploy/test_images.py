"""
The image builds on an engine, and the services of compose.yaml run from it as they are locked up there: as nobody, on a
file system that nobody can write to, without capabilities. The worker scales the shop through the proxy's rules.

Not its networks, which the engine of tests lacks, nor the images that others publish, which cannot be pulled.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import psutil
import pytest
import yaml
from container_engine import require_engine, running_engine
from debian_root import write_root
from engine_proxy import EngineProxyStandIn
from nats_server import TOKEN, NatsServer, free_port
from wheelhouse import wheelhouse

from embedded_stack import eventually
from remediation.scalers.containers import NUMBER, PROJECT, SERVICE, DockerScaler
from steersman.runtime.tokens import read_token
from steersman.stack.compose import write_secrets
from steersman.stack.parts import binary

pytestmark = [
    pytest.mark.timeout(900),
    # The client of the docker package leaves the socket of a streamed answer to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(
        not (os.environ.get("STEERSMAN_IMAGES") or os.environ.get("CI") == "true"),
        reason="takes two minutes and fetches 240 MB, so it is for CI: STEERSMAN_IMAGES=1 runs it elsewhere",
    ),
]

TOP = Path(__file__).parents[2]
BASE, IMAGE = "localhost/steersman-test/python:latest", "localhost/steersman:local"
NOBODY = 10001  # who the image is of
OWNER = 1000  # who started it, whom the image does not know: the services run as the owner of the secret files
POLICY = """
policies:
  - name: three-of-it
    match: ['alertname="TooFew"']
    steps:
      - name: three
        scale: {replicas: 'vector(3)', maximum_step: 4, raises: 0}
        verify: {alert_over: false, query: 'vector(1) > 0', within: 30s, hold: 1s}
"""


class Engine:
    def __init__(self, url: str, secrets: Path) -> None:
        self.url = url
        self.client = docker.DockerClient(base_url=url, version="1.41", timeout=600)
        self.compose: dict[str, Any] = yaml.safe_load((TOP / "compose.yaml").read_text())["services"]
        self._secrets = secrets

    def build(self, folder: Path) -> None:
        archive, wheels = folder / "root.tar", folder / "wheels"
        locks = [TOP / "constraints.txt", TOP / "deploy" / "constraints-scalers.txt"]
        with wheelhouse(wheels, locks, python=_debians_python()) as pip_conf:
            write_root(archive, pip_conf=pip_conf)
            with archive.open("rb") as root:
                self.client.api.import_image_from_data(root, repository=BASE.partition(":")[0])
            self.client.images.build(
                path=str(TOP), tag=IMAGE, buildargs={"PYTHON": BASE}, network_mode="host", rm=True, forcerm=True
            )
        shutil.rmtree(wheels)

    def run(
        self,
        name: str,
        *,
        environment: dict[str, str | None],
        labels: dict[str, str] | None = None,
        mounts: dict[Path, str] | None = None,
    ) -> Any:
        """A service as compose.yaml has it, but for the network and what is told here (None: not set)."""
        service = self.compose[name]
        told = {**service["environment"], **environment}
        secrets = {self._file_of(secret): f"/run/secrets/{secret}" for secret in service["secrets"]}
        return self.client.containers.run(
            IMAGE,
            service["command"],
            name=f"steersman-{name}-1",
            detach=True,
            network_mode="host",
            user=f"{OWNER}:{OWNER}",
            read_only=service["read_only"],
            cap_drop=service["cap_drop"],
            security_opt=service["security_opt"],
            tmpfs=dict.fromkeys(service["tmpfs"], ""),
            environment={key: value for key, value in told.items() if value is not None},
            labels={PROJECT: "steersman", SERVICE: name, NUMBER: "1", **service.get("labels", {}), **(labels or {})},
            volumes={str(path): {"bind": to, "mode": "ro"} for path, to in {**secrets, **(mounts or {})}.items()},
        )

    def _file_of(self, secret: str) -> Path:
        return next(path for path in self._secrets.iterdir() if path.stem == secret)

    def of(self, service: str) -> list[Any]:
        return list(self.client.containers.list(filters={"label": f"{SERVICE}={service}"}))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    require_engine()
    secrets = tmp_path_factory.mktemp("secrets")
    write_secrets(secrets)
    (secrets / "nats.token").write_text(TOKEN)
    for path in secrets.iterdir():
        os.chown(path, OWNER, OWNER)
    with running_engine(_driver()) as url:
        engine = Engine(url, secrets)
        engine.build(tmp_path_factory.mktemp("base"))
        try:
            yield engine
        finally:
            for container in engine.client.containers.list(all=True):
                container.remove(force=True)
            engine.client.close()
            gc.collect()  # the sockets of streamed answers, while the warning about them is still left out


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"), free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def collector(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The collector, from the same image; its address."""
    configuration = tmp_path_factory.mktemp("collector") / "collector.yml"
    configuration.write_text("global: {scrape_interval: 1s, evaluation_interval: 1s}\n")
    for folder in (configuration.parent, configuration):
        folder.chmod(0o755)
    port, *others = (free_port() for _ in range(5))
    flags = [
        f"--{name}=127.0.0.1:{n}"
        for name, n in zip(("otlp-grpc", "otlp-http", "jaeger", "alertmanager"), others, strict=True)
    ]
    container = engine.client.containers.run(
        IMAGE,
        ["collector", "--config=/collector.yml", "--data-dir=/data/collector", f"--http=127.0.0.1:{port}", *flags],
        detach=True,
        network_mode="host",
        read_only=True,
        cap_drop=["ALL"],
        tmpfs={"/data": ""},
        volumes={str(configuration): {"bind": "/collector.yml", "mode": "ro"}},
    )
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: httpx.get(f"{url}/-/ready").is_success, within_s=60, what=f"the collector {_said(container)}")
    yield url
    container.remove(force=True)


def run_catalog(engine: Engine, bus: NatsServer, port: int) -> Any:
    """Its database is a file, its telemetry goes nowhere."""
    return engine.run(
        "catalog",
        environment={
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "NATS_URL": bus.url,
            "SHOP_DATABASE_URL": None,
            "SHOP_DATA_DIR": "/tmp/shop",  # noqa: S108  (in the container)
            "PGPASSFILE": None,
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        },
        labels={"traefik.http.services.catalog.loadbalancer.server.port": str(port)},
    )


@pytest.fixture
def catalog(engine: Engine, bus: NatsServer) -> Iterator[Any]:
    """On any port, since its replicas share the host's."""
    yield run_catalog(engine, bus, 0)
    for one in engine.of("catalog"):
        one.remove(force=True)


@pytest.fixture
def gateway(engine: Engine, tmp_path: Path) -> Iterator[tuple[str, EngineProxyStandIn]]:
    """Traefik with the configuration of compose.yaml, through its own proxy: the address of `mesh`, and the proxy."""
    rules = EngineProxyStandIn(engine.compose["discovery-proxy"]["command"], engine.url)
    configuration = yaml.safe_load((TOP / "deploy" / "compose" / "traefik" / "traefik.yml").read_text())
    for point in configuration["entryPoints"].values():
        point["address"] = f"127.0.0.1:{free_port()}"
    del configuration["tracing"]
    configuration["providers"]["docker"]["endpoint"] = rules.url
    configuration["providers"]["file"] = {"filename": str(TOP / "deploy" / "compose" / "traefik" / "routes.yml")}
    (tmp_path / "traefik.yml").write_text(yaml.safe_dump(configuration))
    running = subprocess.Popen([binary("traefik"), f"--configFile={tmp_path / 'traefik.yml'}"])
    yield f"http://{configuration['entryPoints']['mesh']['address']}", rules
    running.terminate()
    running.wait(30)
    rules.close()


@pytest.fixture
def proxy(engine: Engine) -> Iterator[EngineProxyStandIn]:
    proxy = EngineProxyStandIn(engine.compose["scaling-proxy"]["command"], engine.url)
    yield proxy
    proxy.close()


def _driver() -> str:
    return "overlay" if "overlay" in Path("/proc/filesystems").read_text() else "vfs"


def _debians_python() -> str:
    """Of the base image, not the one that runs this."""
    asked = ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def _said(container: Any) -> str:
    return f"is ready; it says {container.logs(tail=20).decode(errors='replace')}"


def is_ready(container: Any) -> bool:
    """Asked on whatever port it listens."""
    container.reload()
    pid = container.attrs["State"]["Pid"]
    if not pid:
        raise AssertionError(f"it ended: {container.logs(tail=20).decode(errors='replace')}")
    listening = [one for one in psutil.Process(pid).net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    return bool(listening) and httpx.get(f"http://127.0.0.1:{listening[0].laddr.port}/-/ready").is_success


def test_the_image_is_of_nobody_and_brings_what_it_runs(engine):
    image = engine.client.images.get(IMAGE)
    assert image.attrs["Config"]["User"] == str(NOBODY)
    command = "import collector.app, remediation.app, demo_services.catalog, kubernetes, boto3, os; print(os.getuid())"
    told = engine.client.containers.run(
        IMAGE, [], entrypoint=["python", "-c", command], network_mode="host", remove=True
    )
    assert told.decode().strip() == str(NOBODY)
    there = ["ls", "/usr/share/steersman/rules", "/usr/share/steersman/policies", "/usr/share/steersman/drills"]
    told = engine.client.containers.run(IMAGE, [], entrypoint=there, network_mode="host", remove=True)
    assert {"latency.yml", "shop.yaml", "latency-surge.yaml"} <= set(told.decode().split())


def test_a_service_of_the_shop_serves_locked_up_as_compose_locks_it_up(catalog):
    eventually(lambda: is_ready(catalog), within_s=60, what="catalog is ready")
    written = catalog.exec_run(["sh", "-c", "echo > /opt/steersman/mine"])
    assert written.exit_code != 0
    assert b"Read-only" in written.output
    capabilities = catalog.exec_run(["grep", "CapEff", "/proc/1/status"]).output.split()[1]
    assert int(capabilities, 16) == 0


def test_the_proxy_lets_through_what_the_scaler_asks_and_nothing_else(engine, catalog, proxy):
    scaler = DockerScaler(proxy.url, "steersman")
    try:
        assert scaler.services() == ["catalog"]
        assert scaler.set_desired("catalog", 3).desired == 3
        for container in engine.of("catalog"):
            eventually(lambda one=container: is_ready(one), within_s=60, what=f"{container.name} is ready")
        assert scaler.set_desired("catalog", 1).desired == 1
    finally:
        scaler.close()
    assert [one.id for one in engine.of("catalog")] == [catalog.id]
    assert proxy.refused == []
    stranger = httpx.Client(base_url=proxy.url.replace("tcp://", "http://"))
    for method, path in (
        ("GET", "/v1.41/version/"),
        ("POST", "/v1.41/build"),
        ("POST", f"/v1.41/containers/{catalog.id}/exec"),
        ("GET", f"/v1.41/containers/{catalog.id}/archive"),
        ("GET", "/v1.41/images/json"),
        ("POST", "/v1.41/volumes/create"),
    ):
        assert stranger.request(method, path).status_code == 403
    stranger.close()


def test_traefik_finds_the_replicas_through_its_proxy(engine, bus, gateway):
    url, rules = gateway
    container = run_catalog(engine, bus, free_port())
    try:
        found = f"{url}/catalog/products"
        eventually(lambda: httpx.get(found).is_success, within_s=60, what=f"{found} answers; {_said(container)}")
    finally:
        container.remove(force=True)
    assert rules.refused == []
    assert "HEAD /_ping" in rules.passed


def test_the_worker_from_the_image_scales_the_shop_on_the_engine(engine, catalog, proxy, collector, tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY)
    tmp_path.chmod(0o755)
    port = free_port()
    worker = engine.run(
        "worker",
        environment={
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "REMEDIATION_PROMETHEUS_URL": collector,
            "REMEDIATION_DOCKER_URL": proxy.url,
            "REMEDIATION_DATABASE_URL": None,
            "REMEDIATION_NATS_URL": None,
            "PGPASSFILE": None,
            "REMEDIATION_JAEGER_URL": None,
            "OTEL_EXPORTER_OTLP_ENDPOINT": None,
        },
        mounts={tmp_path: "/etc/steersman/policies"},
    )
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: httpx.get(f"{url}/-/ready").is_success, within_s=60, what=f"the worker {_said(worker)}")
    token = read_token(engine._file_of("remediation"))
    asked = {"service": "catalog", "policy": "three-of-it", "reason": "a test", "by": "tests"}
    asked |= {"labels": {"alertname": "TooFew"}}  # type: ignore[dict-item]
    begun = httpx.post(f"{url}/api/v1/remediations", json=asked, headers={"Authorization": f"Bearer {token}"})
    assert begun.is_success, begun.text
    run = f"{url}/api/v1/remediations/{begun.json()['id']}"
    eventually(
        lambda: len(engine.of("catalog")) == 3, within_s=60, what=f"three of catalog; the worker {_said(worker)}"
    )
    actions = eventually(lambda: httpx.get(run).json()["actions"], within_s=30, what="the action is recorded")
    assert [(one["action"], one["from"], one["to"]) for one in actions] == [("scale_out", 1, 3)]
    for container in engine.of("catalog"):
        eventually(lambda one=container: is_ready(one), within_s=60, what=f"{container.name} is ready")
    assert proxy.refused == []
    worker.remove(force=True)
