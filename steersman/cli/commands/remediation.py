"""What the worker does, and what a person may tell it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from steersman.cli.options import DataDirOption, JsonOption, ReasonOption, WorkerOption
from steersman.runtime.paths import DEFAULT_DATA_DIR

PANEL = "Remediation"
app = typer.Typer()
remediation_app = typer.Typer(help="Look at one remediation, or answer its question.", no_args_is_help=True)
app.add_typer(remediation_app, name="remediation", rich_help_panel=PANEL)
audit_app = typer.Typer(help="The worker's audit log.", no_args_is_help=True)
app.add_typer(audit_app, name="audit", rich_help_panel=PANEL)


@app.command(rich_help_panel=PANEL)
def remediations(
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    service: Annotated[str | None, typer.Option(help="Only this service's.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state, e.g. escalated.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List what the worker did, newest first."""
    from steersman.cli.incidents import run_list

    run_list(data_dir, service=service, state=state, limit=limit, as_json=as_json)


@remediation_app.command("show")
def remediation_show(
    remediation_id: Annotated[str, typer.Argument(metavar="ID")],
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: JsonOption = False,
) -> None:
    """The incident report: the alert, the evidence, what was done and why, and how it ended."""
    from steersman.cli.incidents import run_show

    run_show(data_dir, remediation_id, as_json=as_json)


@remediation_app.command("approve")
def remediation_approve(
    remediation_id: Annotated[str, typer.Argument(metavar="ID")],
    reason: ReasonOption,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Let a remediation that asks go on."""
    from steersman.cli.incidents import run_answer

    run_answer(data_dir, remediation_id, "approve", reason)


@remediation_app.command("refuse")
def remediation_refuse(
    remediation_id: Annotated[str, typer.Argument(metavar="ID")],
    reason: ReasonOption,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Stop a remediation that asks; it is escalated."""
    from steersman.cli.incidents import run_answer

    run_answer(data_dir, remediation_id, "refuse", reason)


@remediation_app.command("scaling")
def remediation_scaling(
    service: Annotated[str | None, typer.Argument(help="Only this one.")] = None,
    url: WorkerOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: JsonOption = False,
) -> None:
    """What the autoscalers decided last about each service, and why; doing nothing included."""
    from steersman.cli.scaling import run_scaling

    run_scaling(data_dir, service, url=url, as_json=as_json)


@remediation_app.command("forecast")
def remediation_forecast(
    service: str,
    url: WorkerOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: JsonOption = False,
) -> None:
    """What a service's load is expected to be, the replicas for it, and how good the forecast has been."""
    from steersman.cli.scaling import run_forecast

    run_forecast(data_dir, service, url=url, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def remediate(
    service: str,
    policy: Annotated[str, typer.Option(help="Which policy's steps.")],
    reason: ReasonOption,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of the alert that it answers.")] = None,
    url: WorkerOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Ask for what a policy does to a service, without an alert; all of its guards hold."""
    from steersman.cli.operate import run_remediate

    labels = dict(one.split("=", 1) for one in label or [] if "=" in one)
    if len(labels) != len(label or []):
        raise typer.BadParameter("each as NAME=VALUE, and each name once", param_hint="--label")
    run_remediate(data_dir, service, policy=policy, reason=reason, labels=labels, url=url)


class Turn(StrEnum):
    ON = "on"
    OFF = "off"


@app.command("kill-switch", rich_help_panel=PANEL)
def kill_switch(
    turn: Annotated[Turn | None, typer.Argument(help="Leave it out to look only.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; asked of whoever turns it.")] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Forbid every automatic action, at once and of every worker, or allow them again."""
    from steersman.cli.operate import run_kill_switch

    run_kill_switch(data_dir, turn, reason)


@audit_app.command("verify")
def audit_verify(
    expect: Annotated[
        str | None, typer.Option(metavar="SEQUENCE:HASH", help="A head that was noted before; it must be in the chain.")
    ] = None,
    url: WorkerOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Recompute the audit log's chain; exit code 1 if any entry was edited, removed or moved."""
    from steersman.cli.audit import run_verify

    run_verify(data_dir, url=url, expect=expect)
