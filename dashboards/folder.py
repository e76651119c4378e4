"""A folder of dashboards, a JSON file for each, named by its uid: what is pulled out of a Grafana, kept and pushed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dashboards.errors import DashboardError

JSON_DIR = Path(__file__).parent / "json"  # ours, as they are committed
MAX_BYTES = 4 << 20  # of one dashboard; the largest community dashboards are half a megabyte
UID = re.compile(r"[a-zA-Z0-9_-]{1,40}")  # Grafana's own bound
Model = dict[str, Any]


def shipped() -> list[Model]:
    return read_folder(JSON_DIR)


def read_folder(folder: Path) -> list[Model]:
    """
    Every `*.json` of the folder, by file name.

    Raises:
        DashboardError: a file is no dashboard with a uid, or there is none; two files have one uid.
    """
    found: dict[str, Model] = {}
    for path in sorted(folder.glob("*.json")):
        model = _read(path)
        if model["uid"] in found:
            raise DashboardError(f"{path}: another file of {folder} has the uid {model['uid']!r}, too")
        found[model["uid"]] = model
    if not found:
        raise DashboardError(f"{folder} holds no dashboards (*.json)")
    return list(found.values())


def _read(path: Path) -> Model:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DashboardError(f"{path}: {path.stat().st_size} bytes, the limit is {MAX_BYTES}")
        model = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DashboardError(f"{path}: {error}") from error
    if not isinstance(model, dict) or not isinstance(model.get("title"), str) or not model["title"]:
        raise DashboardError(f"{path}: not a Grafana dashboard: it needs a title and panels")
    if not UID.fullmatch(str(model.get("uid", ""))):
        raise DashboardError(f"{path}: uid must be 1 to 40 letters, digits, - or _, got {str(model.get('uid'))[:60]!r}")
    return model


def write_folder(folder: Path, models: Iterable[Model]) -> list[tuple[Model, str]]:
    """
    Each as a file; returns what became of it: created, updated or unchanged. Other files stay as they are.

    Raises:
        DashboardError: a uid that can be no file's name; nothing was written.
    """
    models = list(models)
    for model in models:
        if not UID.fullmatch(str(model.get("uid", ""))):
            raise DashboardError(f"a dashboard has the uid {str(model.get('uid'))[:60]!r}, which can be no file's name")
    folder.mkdir(parents=True, exist_ok=True)
    return [(model, _write(folder / f"{model['uid']}.json", model)) for model in models]


def _write(path: Path, model: Model) -> str:
    text = written(model)
    before = path.read_text(encoding="utf-8") if path.exists() else None
    if before == text:
        return "unchanged"
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
    return "created" if before is None else "updated"


def written(model: Mapping[str, Any]) -> str:
    """As a file holds it: two spaces, sorted keys, a newline at the end; without what Grafana counts."""
    return json.dumps(without_counters(model), ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def without_counters(model: Mapping[str, Any]) -> Model:
    """A dashboard without what Grafana itself adds on saving: its row id and its version."""
    return {key: value for key, value in model.items() if key not in {"id", "version"}}
