"""The overview as a person sees it: a table of services, what is on fire, what is being done, where to look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from steersman.stack.overview import Overview
from steersman.stack.settings import Urls


def seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def services_table(overview: Overview) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("service")
    for heading in ("ready", "desired", "requests/s", "p50", "p99"):
        table.add_column(heading, justify="right")
    table.add_column("instances")
    for service in overview.services or []:
        name = service["name"]
        full = service["ready"] >= service["desired"]
        table.add_row(
            name,
            Text(str(service["ready"]), style="green" if full else "red"),
            str(service["desired"]),
            _number(overview.rates, name),
            seconds((overview.p50_s or {}).get(name)),
            seconds((overview.p99_s or {}).get(name)),
            _instances(service["instances"]),
        )
    return table


def _number(values: dict[str, float] | None, name: str) -> str:
    return f"{values[name]:.1f}" if values and name in values else "-"


def _instances(instances: list[dict[str, Any]]) -> Text:
    shown = Text(style="dim")
    for instance in instances:
        style = {"ready": "green", "failed": "red", "draining": "yellow"}.get(instance["state"], "")
        state = "" if instance["state"] == "ready" else f" {instance['state']}"
        again = f" (restart {instance['restarts']})" if instance["restarts"] else ""
        shown.append(f"{instance['id']}{state}{again}  ", style=style)
    return shown


def processes_table(overview: Overview) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("process")
    for heading in ("pid", "restarts", "memory", "cpu"):
        table.add_column(heading, justify="right")
    for process in overview.processes or []:
        memory = f"{process['rss_bytes'] / 1e6:.0f} MB"
        cpu = f"{process['cpu_percent']:.0f} %"
        table.add_row(process["name"], str(process["pid"]), str(process["restarts"]), memory, cpu)
    return table


def alerts_text(overview: Overview) -> Text:
    if overview.alerts is None:
        return Text("alerts: the collector does not answer", style="red")
    if not overview.alerts:
        return Text("alerts: none firing", style="green")
    names = [_alert(alert.get("labels", {})) for alert in overview.alerts]
    return Text(f"alerts: {', '.join(names)}", style="bold red")


def _alert(labels: dict[str, str]) -> str:
    service = labels.get("service") or labels.get("job")
    return f"{labels.get('alertname', '?')}({service})" if service else labels.get("alertname", "?")


def remediations_text(overview: Overview) -> Text:
    if overview.remediations is None:
        return Text("remediations: the worker does not answer", style="red")
    if not overview.remediations:
        return Text("remediations: none running")
    shown = [
        f"{r.get('service')}: {r.get('alertname')} {r.get('state')} ({r.get('id')})" for r in overview.remediations
    ]
    return Text(f"remediations: {', '.join(shown)}", style="bold yellow")


def urls_text(urls: Urls, *, load: bool) -> Text:
    shown = {
        "dashboards": urls.dashboards,
        "shop": urls.web,
        "Prometheus": urls.prometheus,
        "Jaeger": urls.jaeger,
        "worker": urls.remediation,
    }
    shown |= {"load": urls.load} if load else {}
    return Text("\n".join(f"{name:<11} {url}" for name, url in shown.items()), style="dim")


def sign_in_text(urls: Urls, token_file: Path) -> Text:
    """Where to act in the dashboards, not only to look; of the token only where it is."""
    return Text(f"to act there, sign in: {urls.dashboards}/sign-in, with the token in {token_file}", style="dim")


def render(overview: Overview, urls: Urls, *, load: bool) -> RenderableType:
    if overview.services is None:
        return Text("the orchestrator does not answer", style="red")
    lines = (alerts_text(overview), remediations_text(overview), urls_text(urls, load=load))
    return Group(services_table(overview), Text(), *lines)


def one_line(overview: Overview) -> str:
    """For a log rather than a terminal."""
    services = " ".join(f"{s['name']} {s['ready']}/{s['desired']}" for s in overview.services or [])
    rate = sum((overview.rates or {}).values())
    worst = max((overview.p99_s or {}).values(), default=None)
    text = f"{services or 'services: no answer'} | {rate:.0f} requests/s, worst p99 {seconds(worst)}"
    return f"{text} | {alerts_text(overview).plain} | {remediations_text(overview).plain}"
