"""`remediation scaling` and `remediation forecast`: what the autoscalers decide, and what they expect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from steersman.cli.incident_report import moment
from steersman.cli.peers import ask
from steersman.runtime.paths import DataDir
from steersman.stack.settings import Urls
from steersman.stack.state import require_state

MAX_LINES = 24  # of a forecast: an hour each, of a day


def run_scaling(data_dir: Path, service: str | None, *, url: str | None, as_json: bool) -> None:
    params = {} if service is None else {"service": service}
    answer = ask("GET", f"{_worker(data_dir, url)}/api/v1/autoscalers", params=params)
    if as_json:
        print(json.dumps(answer, indent=1))
        return
    found = answer["autoscalers"]
    print("\n".join(line for status in found for line in decision(status)) or "no autoscaler has decided anything yet")


def decision(status: dict[str, Any]) -> list[str]:
    """The last decision about one service, and its reason."""
    what = {
        "hold": f"stays at {status['desired']}",
        "out": f"out {status['desired']} → {status['to']}",
        "in": f"in {status['desired']} → {status['to']}",
    }.get(status["decision"], "?")
    head = f"{status['service']} (autoscaler {status['autoscaler']}, {moment(status['at_unix_ms'])}): {what}"
    lines = [f"{head}, {status['ready']} ready, floor {status['floor']}", f"  {status['reason']}"]
    if status.get("held"):
        lines.append(f"  not done: {status['held']}")
    if status.get("run"):
        lines.append(f"  steersman remediation show {status['run']}")
    return lines


def run_forecast(data_dir: Path, service: str, *, url: str | None, as_json: bool) -> None:
    answer = ask("GET", f"{_worker(data_dir, url)}/api/v1/forecast", params={"service": service})
    print(json.dumps(answer, indent=1) if as_json else "\n".join(forecast(answer)))


def forecast(answer: dict[str, Any]) -> list[str]:
    how = "applied as a floor" if answer["applied"] else "shown only; apply: true makes it a floor"
    known = f"{answer['known_seasons']:.1f} seasons known, quantile {answer['quantile']:g}"
    lines = [
        f"{answer['service']}: {answer['query']}",
        f"  season {answer['season_s']:g} s, {known}",
        f"  floor for the next {answer['ahead_s']:g} s: {_or_unknown(answer['floor'])} replicas ({how})",
        f"  {_accuracy(answer['accuracy'])}",
        f"  {'at':<19}  {'expected':>10}  {'high':>10}  replicas",
    ]
    points = answer["points"]
    for point in points[:: max(1, len(points) // MAX_LINES)]:
        expected, high = (_or_unknown(point[name]) for name in ("expected", "high"))
        lines.append(
            f"  {moment(point['at_unix_ms'])}  {expected:>10}  {high:>10}  {_or_unknown(point['replicas']):>8}"
        )
    return lines


def _accuracy(measured: dict[str, Any] | None) -> str:
    if measured is None:
        return "how good it is cannot be measured yet: two seasons before the last are wanted"
    return (
        f"over the last season ({measured['points']} moments): wrong by {measured['error']:.1%} of the load; "
        f"last season again would be {measured['error_of_last_season']:.1%}, no change {measured['error_of_now']:.1%}; "
        f"high covered {measured['covered']:.1%} with {measured['spare']:.1%} to spare"
    )


def _or_unknown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _worker(data_dir: Path, url: str | None) -> str:
    return url or Urls.of(require_state(DataDir.at(data_dir)).ports).remediation
