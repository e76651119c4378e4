"""`status`: one look at a running stack."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import httpx
import typer
from rich.console import Console

from steersman.runtime.paths import DataDir
from steersman.stack import overview, view
from steersman.stack.settings import Urls
from steersman.stack.state import read_state


def run_status(data_dir: Path, *, as_json: bool) -> None:
    where = DataDir.at(data_dir)
    state = read_state(where)
    if state is None:
        print(json.dumps({"running": False}) if as_json else f"no stack runs in {where.root}")
        raise typer.Exit(1)
    urls = Urls.of(state.ports)
    now = asyncio.run(_take(urls))
    if as_json:
        print(json.dumps({"running": True, "stack": dataclasses.asdict(state)} | dataclasses.asdict(now), indent=1))
        return
    console = Console()
    console.print(
        f"{state.phase}, pid {state.pid}, data in {where.root}", markup=False, highlight=False, soft_wrap=True
    )
    console.print()
    console.print(view.render(now, urls, load=state.load))
    console.print()
    console.print(view.processes_table(now))


async def _take(urls: Urls) -> overview.Overview:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await overview.take(client, urls)
