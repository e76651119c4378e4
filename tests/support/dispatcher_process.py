"""A dispatcher and its API as a process of their own, to be killed: `dispatcher_process.py FOLDER PORT TOKEN`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from collector.alerts.config import ConfigFile
from collector.alerts.dispatcher import Dispatcher
from collector.api.alertmanager import alertmanager_app
from steersman.runtime.http import Listener, serve


async def main(folder: Path, port: int, token: str) -> None:
    config = ConfigFile(folder / "alertmanager.yml").load()
    dispatcher = Dispatcher(config, state_path=folder / "dispatcher.sqlite", external_url="http://am")
    running = asyncio.create_task(dispatcher.run())
    await serve([Listener(alertmanager_app(dispatcher, token=token, version="1"), port)])
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
