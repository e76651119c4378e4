"""
The embedded stack's orchestrator, alone: its fleet, its API and real processes as replicas. No gateway runs; what asks
for one is told that it has no servers, as Traefik does before it has read its file.

python orchestrator_process.py FOLDER PORT FIRST_REPLICA_PORT TOKEN_FILE, the names of the services on standard input
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from steersman.orchestrator.api import create_app
from steersman.orchestrator.fleet import Fleet
from steersman.orchestrator.gateway import Gateway, Route
from steersman.orchestrator.process import Command
from steersman.orchestrator.service import ServiceSpec
from steersman.runtime.http import Listener, serve

REPLICA = """
import os, signal, socket
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
while True:
    with server.accept()[0] as client:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
"""
REPLICA_PORTS = 40


class NoGateway(Gateway):
    def publish(self, routes: Mapping[str, Route]) -> None:
        pass

    async def urls(self) -> dict[str, set[str]]:
        return {}


async def main(folder: Path, port: int, first_replica_port: int, token: str) -> None:
    replica = folder / "replica.py"
    replica.write_text(REPLICA)

    def build(spec: ServiceSpec, instance: str, port: int) -> Command:
        return Command(
            name=instance, argv=spec.command, env={"PORT": str(port)}, cwd=folder, log=folder / f"{instance}.log"
        )

    command = (sys.executable, "-S", "-E", str(replica))
    names = sys.stdin.read().split()
    specs = [ServiceSpec(name=name, command=command, minimum=1, maximum=6, desired=2, public=False) for name in names]
    async with httpx.AsyncClient() as client:
        fleet = Fleet(
            specs,
            build=build,
            ports=range(first_replica_port, first_replica_port + REPLICA_PORTS),
            gateway=NoGateway(folder / "routes.yaml", "http://127.0.0.1:1", client),
            targets=folder,
        )
        fleet.prepare()
        running = asyncio.create_task(fleet.run())
        try:
            await serve([Listener(create_app(fleet, token=token, processes=list), port)])
        finally:
            running.cancel()
            await fleet.shut_down()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]).read_text().strip()))
