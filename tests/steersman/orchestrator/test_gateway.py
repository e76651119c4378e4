from __future__ import annotations

import os
from pathlib import Path

import httpx
import yaml

from steersman.orchestrator.files import replace_file
from steersman.orchestrator.gateway import Gateway, Route, dynamic_configuration


def test_private_service_has_no_route_for_customers():
    routers = dynamic_configuration({"payment": Route(public=False, urls=())})["http"]["routers"]
    assert {name: router["entryPoints"] for name, router in routers.items()} == {"mesh-payment": ["mesh"]}


async def test_published_file_holds_every_server_and_leaves_no_half_written_one(tmp_path: Path):
    async with httpx.AsyncClient() as client:
        gateway = Gateway(tmp_path / "routes.yml", "http://127.0.0.1:1", client)
        gateway.publish({"cart": Route(public=True, urls=("http://127.0.0.1:18100", "http://127.0.0.1:18101"))})
        written = yaml.safe_load((tmp_path / "routes.yml").read_text())
        servers = written["http"]["services"]["cart"]["loadBalancer"]["servers"]
        assert servers == [{"url": "http://127.0.0.1:18100"}, {"url": "http://127.0.0.1:18101"}]
        assert os.listdir(tmp_path) == ["routes.yml"]  # noqa: PTH208


async def test_wait_ends_at_its_limit_when_no_gateway_answers(tmp_path: Path):
    async with httpx.AsyncClient(trust_env=False) as client:
        gateway = Gateway(tmp_path / "routes.yml", "http://127.0.0.1:1", client)
        assert await gateway.urls() is None
        assert await gateway.wait_without("cart", "http://127.0.0.1:18100", timeout_s=0.2) is False


def test_file_that_holds_a_secret_is_never_readable_by_others(tmp_path: Path):
    path = tmp_path / "nats.conf"
    path.write_text("old")
    path.chmod(0o644)
    replace_file(path, "secret", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "secret"
