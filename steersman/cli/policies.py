"""`policy check`, `policy explain`, `policy schema`: write policies and try them before they act."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from steersman.cli.peers import ask
from steersman.cli.scaling import decision
from steersman.errors import StackError
from steersman.runtime.paths import DataDir
from steersman.runtime.tokens import read_token
from steersman.stack.settings import Urls
from steersman.stack.state import require_state

MAX_ALERT_BYTES = 4 << 20  # what the worker's webhook takes too
FAULTY = 1  # exit code


def run_check(paths: list[Path], *, scaler: str | None = None) -> int:
    """
    Every fault on a line of its own, by file and key; the exit code.

    Args:
        scaler: That the policies are for: what it does not support is a fault too. None: any.
    """
    from remediation.errors import PolicyError
    from remediation.policy.book import load_policies
    from remediation.scalers.connection import unsupported

    code = 0
    for path in paths:
        try:
            book = load_policies(path)
        except (PolicyError, OSError) as error:
            print(error, file=sys.stderr)
            code = FAULTY
            continue
        for fault in unsupported(book.policies, scaler) if scaler else ():
            print(f"{path}: {fault}", file=sys.stderr)
            code = FAULTY
        autoscalers = f", {len(book.autoscalers)} autoscalers" if book.autoscalers else ""
        print(f"{path}: {len(book.policies)} policies, in the order they are asked{autoscalers}:")
        for policy in book.policies:
            matchers = ", ".join(str(matcher) for matcher in policy.matchers)
            steps = " → ".join(step.kind for step in policy.steps)
            print(f"  {policy.name} (priority {policy.priority}) {{{matchers}}}: {steps}")
        for one in book.autoscalers:
            parts = [f"tracks {', '.join(f'{metric.target:g}' for metric in one.tracking)}"]
            parts += [f"{schedule.name}: {schedule.minimum} at least" for schedule in one.schedule]
            if one.forecast is not None:
                parts.append("forecast " + ("applied" if one.forecast.apply else "shown only"))
            print(f"  autoscaler {one.name} of {', '.join(one.services)}: {'; '.join(parts)}")
    return code


def run_schema() -> None:
    from remediation.policy.schema import schema_text

    print(schema_text(), end="")


def run_explain(data_dir: Path, file: Path, *, url: str | None, token_file: Path | None, as_json: bool) -> None:
    """
    Raises:
        StackError: the file holds no alert.
    """
    where = DataDir.at(data_dir)
    worker = url or Urls.of(require_state(where).ports).remediation
    token = read_token(token_file or where.token_file("remediation"))
    told = [(alert, ask("POST", f"{worker}/api/v1/explain", token=token, json=alert)) for alert in read_alerts(file)]
    if as_json:
        print(json.dumps([answer for _, answer in told], indent=1))
        return
    for alert, answer in told:
        print("\n".join(explanation(alert, answer)))


def read_alerts(file: Path) -> list[dict[str, Any]]:
    """
    Of a notification (`{"alerts": […]}`), of a list, or one alert (`{"labels": …}`); `-` reads standard input.

    Raises:
        StackError: it holds none.
    """
    text = sys.stdin.read(MAX_ALERT_BYTES) if str(file) == "-" else file.read_text(encoding="utf-8")
    try:
        read = json.loads(text)
    except ValueError as error:
        raise StackError(f"{file} is not JSON: {error}") from error
    alerts = read.get("alerts", [read]) if isinstance(read, dict) else read
    if not isinstance(alerts, list) or not alerts:
        raise StackError(f"{file} holds no alerts: neither a notification, nor a list, nor one alert with labels")
    for number, alert in enumerate(alerts):
        if not isinstance(alert, dict) or not isinstance(alert.get("labels"), dict):
            raise StackError(f"{file}: alert {number} has no labels")
    return alerts


def explanation(alert: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(alert["labels"].items()))
    lines = [f"{{{labels}}}"]
    if answer["policy"] is None:
        return [*lines, "  no policy answers it; each says no by", *_nearest(answer), *_autoscaling(answer)]
    lines.append(f"  policy {answer['policy']}: {', '.join(answer['why'])}")
    if answer["also_match"]:
        lines.append(f"  would match too, but come later: {', '.join(answer['also_match'])}")
    if answer["target"] is None:
        return [*lines, f"  nothing would be done: {answer['reason']}", *_autoscaling(answer)]
    lines += [f"  target {answer['target']}", "  guards"]
    width = max(len(one["guard"]) for one in answer["guards"])
    lines += [
        f"    {'pass  ' if one['verdict'] == 'pass' else 'REFUSE'}  {one['guard']:<{width}}  {one['reason']}"
        for one in answer["guards"]
    ]
    lines.append("  plan")
    for number, step in enumerate(answer["plan"], 1):
        lines.append(f"    {number}. {step['step']}: {step['detail']}")
        if "verify" in step:
            lines.append(f"       until {step['verify']}; else {step['on_failure']}")
    return [*lines, f"  now it would {answer['would']}: {answer['reason']}", *_autoscaling(answer)]


def _autoscaling(answer: dict[str, Any]) -> list[str]:
    """What scaling does about the service without an alert."""
    told = answer.get("autoscaling")
    if not told:
        return []
    lines = [f"  without an alert, autoscaler {told['autoscaler']}"]
    lines += [f"    {line}" for line in (decision(told["last"]) if told["last"] else ["has decided nothing yet"])]
    for kind, guards in told["guards"].items():
        refusing = [f"{one['guard']}: {one['reason']}" for one in guards if one["verdict"] != "pass"]
        may = f"may not: {'; '.join(refusing)}" if refusing else "may"
        lines.append(f"    scaling {kind} {may}")
    return lines


def _nearest(answer: dict[str, Any]) -> list[str]:
    return [f"    {one['policy']}: {one['matcher']}, the alert has {one['got']!r}" for one in answer["nearest"]]
