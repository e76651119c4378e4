"""`dashboards push | pull | diff`: ours or a folder's, with a Grafana or with the viewer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaException

from dashboards.errors import DashboardError
from dashboards.folder import Model, read_folder, write_folder
from dashboards.provisioning import Change, DataSources, differences, pull, push
from steersman.errors import PeerError, StackError
from steersman.runtime.paths import DataDir
from steersman.runtime.tokens import read_token
from steersman.stack.settings import Urls
from steersman.stack.state import require_state


def run_push(data_dir: Path, url: str | None, token_file: Path | None, folder: Path | None) -> None:
    """
    Raises:
        StackError: a Grafana without its token, or a folder that holds no dashboards.
        PeerError: it does not answer, or refuses.
    """
    boards = _boards(folder)
    with _grafana(data_dir, url, token_file) as (grafana, sources):
        changes = push(grafana, sources, boards)
    for change in changes:
        _tell(change)


def run_pull(data_dir: Path, url: str | None, token_file: Path | None, folder: Path | None) -> None:
    """Raises as `run_push` does."""
    if folder is None:
        raise StackError("pull writes into a folder: --folder FOLDER")
    with _grafana(data_dir, url, token_file) as (grafana, _sources):
        models = pull(grafana)
    try:
        kept = write_folder(folder, models)
    except (DashboardError, OSError) as error:
        raise StackError(str(error)) from error
    for model, action in kept:
        _tell(Change("dashboard", f"{model['title']}, {folder / model['uid']}.json", action))


def run_diff(data_dir: Path, url: str | None, token_file: Path | None, folder: Path | None) -> int:
    """The exit code: 1 if `push` would change anything. Raises as `run_push` does."""
    boards = _boards(folder)
    with _grafana(data_dir, url, token_file) as (grafana, sources):
        found = differences(grafana, sources, boards)
    for each in found:
        print("\n".join(each.lines) if each.lines else f"missing    {each.kind} {each.name}")
    if not found:
        print("nothing differs")
    return 1 if found else 0


def _tell(change: Change) -> None:
    print(f"{change.action:<10} {change.kind} {change.name}")


def _boards(folder: Path | None) -> list[Model] | None:
    try:
        return None if folder is None else read_folder(folder)
    except DashboardError as error:
        raise StackError(str(error)) from error


@contextmanager
def _grafana(data_dir: Path, url: str | None, token_file: Path | None) -> Iterator[tuple[GrafanaApi, DataSources]]:
    where = DataDir.at(data_dir)
    sources = DataSources()
    if url is None:
        urls = Urls.of(require_state(where).ports)
        url, token_file = urls.dashboards, where.token_file("dashboards")
        sources = DataSources(prometheus_url=urls.prometheus, jaeger_url=urls.jaeger)
    if token_file is None:
        raise StackError(f"{url} wants a token: --token-file FILE")
    grafana = GrafanaApi.from_url(url, credential=read_token(token_file))
    try:
        yield grafana, sources
    except (GrafanaException, OSError) as error:
        raise PeerError(f"{url}: {getattr(error, 'message', None) or error}") from error
    finally:
        grafana.client.s.close()
