"""compose.yaml and what it mounts: held to their own checkers, and to the embedded stack that they mirror."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from jsonschema import Draft7Validator
from nats_server import free_port
from postgres_cluster import PostgresCluster, require_postgres

from embedded_stack import eventually
from steersman.orchestrator.gateway import Route, dynamic_configuration
from steersman.runtime.ports import Ports
from steersman.stack.compose import write_secrets
from steersman.stack.parts import binary

TOP = Path(__file__).parents[2]
COMPOSE = TOP / "deploy" / "compose"
# The Compose specification's own, as the linter dclint ships it.
SCHEMA = TOP / "tests" / "interop" / "javascript" / "node_modules" / "dclint" / "schemas" / "compose.schema.json"


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = loaded(TOP / "compose.yaml")
    return found


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = loaded(TOP / "demo_services" / "services.yaml")["services"]
    return found


def checker(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(scope="module")
def schema() -> Draft7Validator:
    if not SCHEMA.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("npm ci --prefix tests/interop/javascript")
    return Draft7Validator(json.loads(SCHEMA.read_text()))


@pytest.mark.peer
def test_compose_yaml_keeps_to_the_compose_specifications_schema(compose, schema):
    assert [f"{error.json_path}: {error.message}" for error in schema.iter_errors(compose)] == []


@pytest.mark.peer
@pytest.mark.parametrize("wrong", [{"comand": []}, {"ports": "8080"}, {"healthcheck": {"test": 1}}])
def test_a_service_that_is_wrong_would_be_found(compose, schema, wrong):
    services = {**compose["services"], "catalog": {**compose["services"]["catalog"], **wrong}}
    assert list(schema.iter_errors({**compose, "services": services}))


def test_every_port_is_published_on_the_loopback_and_is_the_embedded_one(compose):
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)
    numbers = {int(port.split(":")[1]) for port in published}
    ports = Ports()
    assert numbers >= {
        3000, ports.otlp_grpc, ports.otlp_http, ports.gateway, ports.load, ports.prometheus, 9093,
        ports.remediation, ports.jaeger, ports.nats,
    }  # fmt: skip


def test_every_service_can_scale_is_bounded_and_runs_without_root(compose):
    for name, service in compose["services"].items():
        assert "container_name" not in service, name
        assert "limits" in service["deploy"]["resources"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged"), name
        if name not in {"postgres", "jaeger"}:  # the one hands its volume over first, the other's image names its user
            assert not str(service["user"]).startswith("0"), name
        image = service["image"]
        assert ":" in image, name
        assert not image.endswith(":latest"), name


def test_what_others_wait_for_says_when_it_is_healthy_and_waits_for_none_of_them(compose):
    services = compose["services"]
    needs = {name: service.get("depends_on", {}) for name, service in services.items()}
    for name, needed in needs.items():
        if isinstance(needed, dict):
            healthy = {other for other, told in needed.items() if told["condition"] == "service_healthy"}
            assert all("healthcheck" in services[other] for other in healthy), name
    list(TopologicalSorter(needs).static_order())  # raises CycleError
    for service in services.values():
        assert set(service.get("networks", ["default"])) <= compose["networks"].keys()
        named = [volume.split(":")[0] for volume in service.get("volumes", []) if volume[0] not in "./"]
        assert set(named) <= compose["volumes"].keys()


def test_only_the_proxies_reach_the_engine(compose):
    reaching = {
        name
        for name, service in compose["services"].items()
        if any("docker.sock" in v for v in service.get("volumes", []))
    }
    assert reaching == {"scaling-proxy", "discovery-proxy"}
    on_network = {n for n, service in compose["services"].items() if "scaling" in service.get("networks", [])}
    assert on_network == {"worker", "scaling-proxy"}


def test_shop_is_that_of_the_embedded_stack(compose, services):
    for name, spec in services.items():
        service = compose["services"][name]
        assert service["labels"]["steersman.minimum"] == str(spec["minimum"]), name
        assert service["labels"]["steersman.maximum"] == str(spec["maximum"]), name
        assert service["command"] == [spec["command"][-1]], name
        assert spec["env"].items() <= service["environment"].items(), name


def test_what_is_mounted_and_every_secret_is_there(compose, tmp_path):
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (TOP / volume.split(":")[0]).exists(), f"{name}: {volume}"
        assert set(service.get("secrets", [])) <= compose["secrets"].keys(), name
    write_secrets(tmp_path)
    assert {Path(secret["file"]).name for secret in compose["secrets"].values()} == {p.name for p in tmp_path.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    write_secrets(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before, "made once"


def test_postgresql_gets_a_role_with_the_password_and_a_database_for_each_who_keeps_something():
    """As its image runs it: as who may not read the secret file, which is not there at all."""
    programs = require_postgres()
    cluster = PostgresCluster(programs)
    try:
        with psycopg.connect(cluster.database(), autocommit=True) as connection:
            connection.execute("CREATE ROLE postgres SUPERUSER LOGIN")
            environment = {
                "PATH": f"{programs}:{os.environ['PATH']}",
                "PGHOST": "127.0.0.1",
                "PGPORT": str(cluster.port),
            }
            command = [str(COMPOSE / "postgres.sh")]
            ran = subprocess.run(
                command,
                env=environment | {"PGDATABASE": "template1", "POSTGRES_PASSWORD": 'it\'s "quoted"'},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert ran.returncode == 0, ran.stderr
            owners = connection.execute(
                "SELECT datname, rolname, rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_database"
                " JOIN pg_authid ON datdba = pg_authid.oid WHERE rolname IN ('shop', 'remediation') ORDER BY 1"
            ).fetchall()
            assert owners == [("remediation", "remediation", True), ("shop", "shop", True)]
            assert (
                subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode != 0
            )
    finally:
        cluster.close()


def test_what_is_kept_is_in_a_folder_that_its_user_may_write_to(compose):
    """A new volume has the owner and mode of the image's folder: Prometheus's own, and Alpine's for everybody."""
    assert "prometheus:/prometheus" in compose["services"]["prometheus"]["volumes"]
    assert "nats:/var/tmp" in compose["services"]["nats"]["volumes"]
    assert 'store_dir: "/var/tmp/' in (COMPOSE / "nats.conf").read_text()


def test_traefik_is_the_one_that_the_embedded_stack_runs_on_kubernetes_too(compose):
    told = subprocess.run([binary("traefik"), "version"], capture_output=True, text=True, timeout=30, check=True)
    version = told.stdout.splitlines()[0].removeprefix("Version:").strip()
    assert compose["services"]["traefik"]["image"] == f"traefik:v{version}"
    overlay = loaded(TOP / "deploy" / "kubernetes" / "overlays" / "demo" / "kustomization.yaml")
    assert {"name": "traefik", "newTag": f"v{version}"} in overlay["images"]


@pytest.mark.parametrize("folder", [COMPOSE / "traefik", TOP / "deploy" / "kubernetes" / "base" / "gateway"])
def test_traefik_takes_its_configuration_and_the_routes(folder, tmp_path):
    static = loaded(folder / "traefik.yml")
    for point in static["entryPoints"].values():
        point["address"] = f"127.0.0.1:{free_port()}"
    static["log"] |= {"format": "json"}
    static["providers"]["file"]["filename"] = str(folder / "routes.yml")
    (tmp_path / "traefik.yml").write_text(yaml.safe_dump(static))
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            [binary("traefik"), f"--configFile={tmp_path / 'traefik.yml'}"], stdout=log, stderr=log
        )
    try:
        api = f"http://{static['entryPoints']['traefik']['address']}"
        routers = f"{api}/api/http/routers?per_page=100"
        eventually(lambda: "mesh-catalog@file" in httpx.get(routers).text, within_s=20, what="the routes are taken")
        wanted = loaded(folder / "routes.yml")["http"]
        assert {one["name"] for one in httpx.get(routers).json()} >= {f"{name}@file" for name in wanted["routers"]}
        middlewares = httpx.get(f"{api}/api/http/middlewares?per_page=100").json()
        assert {one["name"] for one in middlewares if not one.get("error")} >= {
            f"{name}@file" for name in wanted["middlewares"]
        }
    finally:
        running.terminate()
        running.wait(20)
    said = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    # What it warns of are replicas that are not there, and Docker, which is not either.
    assert [one for one in said if "is not configured" in one.get("message", "")] == []


def test_routes_are_those_that_the_orchestrator_writes(services):
    wanted = dynamic_configuration({name: Route(spec["public"], ()) for name, spec in services.items()})["http"]
    for router in wanted["routers"].values():
        router["service"] += "@docker"
    del wanted["services"]
    assert loaded(COMPOSE / "traefik" / "routes.yml")["http"] == wanted


def test_nats_takes_its_configuration_and_the_included_token(tmp_path):
    (tmp_path / "etc" / "nats").mkdir(parents=True)
    (tmp_path / "run" / "secrets").mkdir(parents=True)
    shutil.copy(COMPOSE / "nats.conf", tmp_path / "etc" / "nats")
    write_secrets(tmp_path / "made")
    shutil.copy(tmp_path / "made" / "nats_authorization.conf", tmp_path / "run" / "secrets" / "nats_authorization")
    ran = subprocess.run(
        [binary("nats-server"), "-t", "-c", str(tmp_path / "etc" / "nats" / "nats.conf")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.peer
@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("promtool", ["check", "config", "--syntax-only", "prometheus/prometheus.yml"]),
        ("amtool", ["check-config", "alertmanager/alertmanager.yml"]),
    ],
)
def test_configuration_passes_its_own_checker(program, arguments, tmp_path):
    *verb, file = arguments
    text = (COMPOSE / file).read_text()
    if program == "promtool":  # 2.42 knows no `otlp` section yet
        document = yaml.safe_load(text)
        del document["otlp"]
        text = yaml.safe_dump(document)
    (tmp_path / "checked.yml").write_text(text)
    ran = subprocess.run(
        [checker(program), *verb, str(tmp_path / "checked.yml")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_pipelines_of_the_opentelemetry_collector_name_what_is_defined():
    document = loaded(TOP / "collector" / "otelcol.yaml")
    connectors = document["connectors"].keys()
    for name, pipeline in document["service"]["pipelines"].items():
        assert set(pipeline["receivers"]) <= document["receivers"].keys() | connectors, name
        assert set(pipeline.get("processors", [])) <= document["processors"].keys(), name
        assert set(pipeline["exporters"]) <= document["exporters"].keys() | connectors, name
