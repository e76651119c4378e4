"""`dashboards push`: ours, into a Grafana or into the viewer."""

from __future__ import annotations

from pathlib import Path

from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaException

from dashboards.provisioning import DataSources, push
from steersman.errors import PeerError, StackError
from steersman.runtime.paths import DataDir
from steersman.runtime.tokens import read_token
from steersman.stack.settings import Urls
from steersman.stack.state import require_state


def run_push(data_dir: Path, url: str | None, token_file: Path | None) -> None:
    """
    Raises:
        StackError: a Grafana without its token.
        PeerError: it does not answer, or refuses.
    """
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
        changes = push(grafana, sources)
    except (GrafanaException, OSError) as error:
        raise PeerError(f"{url}: {getattr(error, 'message', None) or error}") from error
    finally:
        grafana.client.s.close()
    for change in changes:
        print(f"{change.action:<10} {change.kind} {change.name}")
