"""Rules, policies, drills and dashboards; who may sign in."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from steersman.cli.options import HANDED_OVER, DataDirOption, JsonOption, WorkerOption
from steersman.runtime.paths import DEFAULT_DATA_DIR


class ScalerName(StrEnum):
    LOCAL = "local"
    DOCKER = "docker"
    KUBERNETES = "kubernetes"
    AWS = "aws"


PANEL = "Rules, policies, drills, dashboards"
app = typer.Typer()
policy_app = typer.Typer(help="Write policies: policy check | explain | schema.", no_args_is_help=True)
app.add_typer(policy_app, name="policy", rich_help_panel=PANEL)
users_app = typer.Typer(help="Who may sign in to the dashboards: users add | list | remove.", no_args_is_help=True)
app.add_typer(users_app, name="users", rich_help_panel=PANEL)


@app.command(rich_help_panel=PANEL, context_settings=HANDED_OVER, add_help_option=False)
def rules(context: typer.Context, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Write rules: rules check | test | backtest."""
    from steersman.cli.rules import run_rules

    run_rules(data_dir, context.args)


@policy_app.command("check")
def policy_check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Policy files, or folders of them.")],
    scaler: Annotated[
        ScalerName | None,
        typer.Option(envvar="REMEDIATION_SCALER", help="Name the steps too that this scaler does not support."),
    ] = None,
) -> None:
    """Read policies as the worker does, and name what is wrong by file and key; exit code 1 if anything is."""
    from steersman.cli.policies import run_check

    raise typer.Exit(run_check(files, scaler=scaler))


@policy_app.command("explain")
def policy_explain(
    alert: Annotated[Path, typer.Argument(metavar="ALERT.json", help="An alert or a notification; - for stdin.")],
    url: WorkerOption = None,
    token_file: Annotated[Path | None, typer.Option(help="Holds the worker's token.")] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: JsonOption = False,
) -> None:
    """A dry run: which policy would answer, what each guard says now, and the plan. Changes nothing."""
    from steersman.cli.policies import run_explain

    run_explain(data_dir, alert, url=url, token_file=token_file, as_json=as_json)


@policy_app.command("schema")
def policy_schema() -> None:
    """Print the JSON Schema of policy files."""
    from steersman.cli.policies import run_schema

    run_schema()


@app.command(rich_help_panel=PANEL, context_settings=HANDED_OVER, add_help_option=False)
def drill(context: typer.Context, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Rehearse the loop on purpose and grade it: drill list | run NAME | report."""
    from steersman.cli.handover import run_drill

    run_drill(data_dir, context.args)


class DashboardsVerb(StrEnum):
    PUSH = "push"
    PULL = "pull"
    DIFF = "diff"


@app.command("dashboards", rich_help_panel=PANEL)
def dashboards(
    verb: Annotated[
        DashboardsVerb,
        typer.Argument(
            help="push: data sources, folder and dashboards there; pull: its dashboards into --folder; "
            "diff: what push would change, exit code 1 if anything."
        ),
    ],
    url: Annotated[str | None, typer.Option(help="A Grafana; without it, the running stack's viewer.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="Holds the token of --url.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Of dashboards as JSON files, instead of those that ship; pull writes into it.")
    ] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Dashboards into a Grafana or the viewer, out of it, or compared with it; doing it twice changes nothing."""
    from steersman.cli.provision import run_diff, run_pull, run_push

    match verb:
        case DashboardsVerb.PUSH:
            run_push(data_dir, url, token_file, folder)
        case DashboardsVerb.PULL:
            run_pull(data_dir, url, token_file, folder)
        case DashboardsVerb.DIFF:
            raise typer.Exit(run_diff(data_dir, url, token_file, folder))


class RoleName(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


UserArgument = Annotated[str, typer.Argument(help="The user's name.")]


@users_app.command("add")
def users_add(
    name: UserArgument,
    role: Annotated[RoleName, typer.Option(help="viewer looks, operator acts, admin also reads the audit log.")],
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Add a user, or give one a new role and password; the password is shown once."""
    from steersman.cli.users import run_add

    run_add(data_dir, name, role.value)


@users_app.command("list")
def users_list(data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Names and roles."""
    from steersman.cli.users import run_list

    run_list(data_dir)


@users_app.command("remove")
def users_remove(name: UserArgument, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Remove a user and end their sessions."""
    from steersman.cli.users import run_remove

    run_remove(data_dir, name)
