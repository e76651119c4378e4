"""The generated files, read by the programs that they are for."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import shutil
import subprocess

import nats
import pytest
import yaml

from steersman.orchestrator.probe import becomes_ready
from steersman.orchestrator.process import RunningProcess
from steersman.runtime.paths import shipped
from steersman.runtime.tokens import read_token
from steersman.stack import configuration, parts
from steersman.stack.settings import PROMETHEUS, TOKENS, Settings

# Told by pages that are scraped, whoever evaluates the rules: of replicas each second, of the others every five.
SCRAPED = re.compile(r"up|(worker_pool|shop|fault|process|traefik|remediation)_.*")
METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?=[{\[])")


async def test_nats_starts_with_a_durable_store_and_asks_for_the_token(settings: Settings):
    configuration.write_configuration(settings)
    part = parts.nats(settings)
    server = await RunningProcess.start(part.command)
    try:
        assert await becomes_ready(part.ready_port, part.ready_path, every_s=0.05, timeout_s=10.0)
        assert b"Authorization Violation" in await _answer_without_token(settings.ports.nats)
        token = read_token(settings.data_dir.token_file("nats"))
        client = await nats.connect(settings.urls.nats, token=token)
        await client.jetstream().add_stream(name="orders", subjects=["order.placed"])
        assert (await client.jetstream().publish("order.placed", b"1")).seq == 1
        await client.close()
    finally:
        await server.stop(deadline_s=5.0)


async def _answer_without_token(port: int) -> bytes:
    """By hand: the client library leaves its socket open when it is refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b'CONNECT {"verbose": true}\r\nPING\r\n')
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_secrets_are_in_files_of_their_owner_alone_and_in_no_command_line(settings: Settings):
    configuration.write_configuration(settings)
    tokens = {audience: read_token(settings.data_dir.token_file(audience)) for audience in TOKENS}
    assert len(set(tokens.values())) == len(TOKENS)
    assert settings.nats_file.stat().st_mode & 0o777 == 0o600
    assert settings.data_dir.secrets.stat().st_mode & 0o777 == 0o700
    for make in (parts.nats, parts.traefik, parts.collector, parts.worker, parts.load):
        command = make(settings).command
        shown = " ".join([*command.argv, *command.env.values()])
        assert not any(token in shown for token in tokens.values())


def test_second_start_keeps_the_tokens_and_drops_targets_of_replicas_long_gone(settings: Settings):
    configuration.write_configuration(settings)
    before = read_token(settings.data_dir.token_file("load"))
    (settings.targets / "catalog.json").write_text("[]")
    configuration.write_configuration(settings)
    assert read_token(settings.data_dir.token_file("load")) == before
    assert list(settings.targets.iterdir()) == []


def test_collector_sends_alerts_to_the_worker_with_its_token_file(settings: Settings):
    written = configuration.collector(settings)
    webhook = written["alertmanager"]["receivers"][0]["webhook_configs"][0]
    assert webhook["url"] == f"{settings.urls.remediation}/api/v1/webhook/alertmanager"
    credentials = webhook["http_config"]["authorization"]
    assert credentials == {
        "type": "Bearer",
        "credentials_file": str(settings.data_dir.token_file("remediation")),
    }
    assert yaml.safe_load(yaml.safe_dump(written)) == written


def test_every_port_moves_by_the_offset(settings: Settings):
    unmoved = Settings(data_dir=settings.data_dir, port_offset=0, services_file=settings.services_file)
    moved = settings.listening_ports
    assert {use: port - settings.port_offset for use, port in moved.items()} == unmoved.listening_ports
    text = yaml.safe_dump([configuration.traefik(settings), configuration.collector(settings)])
    for port in unmoved.listening_ports.values():
        assert f"127.0.0.1:{port}" not in text


def test_nothing_of_the_caller_s_environment_leaks_into_the_stack(settings: Settings, monkeypatch):
    for name in ("OTEL_SDK_DISABLED", "HTTP_PROXY", "https_proxy", "NATS_URL", "PORT", "SHOP_POOL_SIZE"):
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("LANG", "C.UTF-8")
    for make in (parts.nats, parts.worker, parts.load):
        environment = make(settings).command.env
        assert "foreign" not in environment.values()
        assert environment["LANG"] == "C.UTF-8"


def test_what_rules_policies_and_drills_read_of_otlp_reaches_prometheus_in_a_page_of_its_own():
    files = [*shipped("rules").glob("*.yml"), *shipped("policies").glob("*.yaml"), *shipped("drills").glob("*.yaml")]
    text = "\n".join(file.read_text() for file in files)
    recorded = set(re.findall(r"- record: (\S+)", text))
    read = set(METRIC.findall(text)) - recorded
    assert len(read) > 10
    missed = {n for n in read if not SCRAPED.fullmatch(n) and not re.fullmatch(configuration.RULES_BY_OTLP, n)}
    assert missed == set()


@pytest.mark.peer
@pytest.mark.parametrize("program", ["promtool", "amtool"])
def test_what_debians_prometheus_and_alertmanager_get_passes_their_checkers(settings: Settings, program: str):
    if shutil.which(program) is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{program} is not installed")
    settings = dataclasses.replace(settings, backend=PROMETHEUS)
    configuration.write_configuration(settings)
    check = {
        "promtool": ["check", "config", str(settings.prometheus_file)],
        "amtool": ["check-config", str(settings.alertmanager_file)],
    }
    ran = subprocess.run([program, *check[program]], capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_gateways_spans_come_as_often_as_the_services(settings: Settings):
    asked = parts.traefik(settings).command.env, parts.worker(settings).command.env
    assert len({environment["OTEL_BSP_SCHEDULE_DELAY"] for environment in asked}) == 1


def test_prometheus_stands_in_for_the_collectors_rules_and_not_beside_them(settings: Settings):
    settings = dataclasses.replace(settings, backend=PROMETHEUS)
    assert not {"rule_files", "scrape_configs", "alertmanager"} & configuration.collector(settings).keys()
    names = [part.name for part in parts.backend(settings)]
    assert names == ["prometheus", "alertmanager"]
    assert settings.urls.prometheus != settings.urls.collector
