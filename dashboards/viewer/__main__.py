"""`python -m dashboards.viewer`: the viewer as a process, told by its environment."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from dashboards.errors import SettingsError
from dashboards.viewer.settings import Settings


def main() -> int:
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        print(f"viewer: {error}", file=sys.stderr)
        return 2
    # NiceGUI keeps what it remembers of visitors where this says, and reads it when it is imported.
    os.environ["NICEGUI_STORAGE_PATH"] = str(settings.data_dir / "visitors")
    from dashboards.viewer.app import make_app
    from steersman.runtime.http import Listener, serve
    from steersman.runtime.tokens import ensure_token

    app = make_app(settings, storage_secret=ensure_token(settings.data_dir / "cookies.token"))
    asyncio.run(serve([Listener(app, settings.port, settings.host)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
