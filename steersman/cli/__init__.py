"""
The command line. This module is all that `steersman --help` loads: what a command needs is imported when it runs.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from steersman.errors import SteersmanError
from steersman.runtime.paths import DEFAULT_DATA_DIR
from steersman.runtime.tokens import EmptyTokenError

app = typer.Typer(
    name="steersman",
    help="Watches a system of services and steers it back on course.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
remediation_app = typer.Typer(help="Look at one remediation, or answer its question.", no_args_is_help=True)
app.add_typer(remediation_app, name="remediation")
policy_app = typer.Typer(help="Write policies: policy check | explain | schema.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")
audit_app = typer.Typer(help="The worker's audit log.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")
users_app = typer.Typer(help="Who may sign in to the dashboards: users add | list | remove.", no_args_is_help=True)
app.add_typer(users_app, name="users")


class Backend(StrEnum):
    EMBEDDED = "embedded"
    PROMETHEUS = "prometheus"


BackendOption = Annotated[
    Backend, typer.Option(help="Who evaluates rules and sends alerts: the collector, or Prometheus and Alertmanager.")
]
DataDirOption = Annotated[
    Path, typer.Option("--data-dir", envvar="STEERSMAN_DATA_DIR", help="Where the stack keeps its state.")
]
OffsetOption = Annotated[
    int, typer.Option("--port-offset", help="Added to every port, so that stacks run side by side.")
]
ServicesOption = Annotated[Path | None, typer.Option("--services", help="A services file instead of the shop's own.")]
CollectorOption = Annotated[
    str | None, typer.Option("--url", help="Of a collector's HTTP port, instead of the stack's.", show_default=False)
]
CollectorTokenOption = Annotated[
    Path | None, typer.Option(help="Of the collector's token, instead of the stack's.", show_default=False)
]
WorkerOption = Annotated[
    str | None, typer.Option("--url", help="Of a worker, instead of the stack's.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
# Their arguments are another program's, which also answers --help.
HANDED_OVER = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


@app.command()
def up(
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    port_offset: OffsetOption = 0,
    load: Annotated[bool, typer.Option("--load/--no-load", help="Whether to start the load generator.")] = True,
    services: ServicesOption = None,
    backend: BackendOption = Backend.EMBEDDED,
) -> None:
    """Start the embedded stack and show what it does; Ctrl-C stops everything."""
    from steersman.cli.lifecycle import run_up

    run_up(data_dir, port_offset, services, load=load, backend=backend.value)


@app.command()
def down(data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Stop the stack and wait until all of it is gone."""
    from steersman.cli.lifecycle import run_down

    run_down(data_dir)


@app.command()
def status(data_dir: DataDirOption = DEFAULT_DATA_DIR, as_json: JsonOption = False) -> None:
    """Show services, processes, alerts and running remediations."""
    from steersman.cli.show import run_status

    run_status(data_dir, as_json=as_json)


@app.command()
def doctor(
    data_dir: DataDirOption = DEFAULT_DATA_DIR, port_offset: OffsetOption = 0, services: ServicesOption = None
) -> None:
    """Check what the stack needs; exit code 1 if something would keep it from starting."""
    from steersman.cli.lifecycle import run_doctor

    run_doctor(data_dir, port_offset, services)


@app.command()
def scale(
    service: str, replicas: Annotated[int, typer.Argument(metavar="N")], data_dir: DataDirOption = DEFAULT_DATA_DIR
) -> None:
    """Set how many replicas a service should have."""
    from steersman.cli.operate import run_scale

    run_scale(data_dir, service, replicas)


@app.command()
def restart(
    service: str,
    instance: Annotated[str | None, typer.Argument(help="One replica; without it, all in turn.")] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Replace one replica, or all of a service in turn; each replacement serves before the old one stops."""
    from steersman.cli.operate import run_restart

    run_restart(data_dir, service, instance)


@app.command()
def deploy(
    service: str,
    version: Annotated[str | None, typer.Argument(help="One of its versions; without it, tell its history.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the history.")] = "by hand",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Deploy a version of a service, replica by replica, or tell which were deployed when."""
    from steersman.cli.operate import run_deploy

    run_deploy(data_dir, service, version, reason)


@app.command()
def logs(
    service: Annotated[
        str | None, typer.Argument(help="A service, a replica (catalog-1), or collector, worker, traefik, …")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on printing until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines, of each log.")] = 50,
    trace: Annotated[str | None, typer.Option("--trace", metavar="ID", help="Log records of this trace.")] = None,
    severity: Annotated[str | None, typer.Option(help="Log records this severe or worse: info, warn, error.")] = None,
    grep: Annotated[str | None, typer.Option(metavar="TEXT", help="Log records that contain this.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Log records of the last 15m, 2h, 7d.")] = None,
    url: CollectorOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Print the last lines of a process's log; with --trace, --severity, --grep or --since, the stored log records."""
    if any(option is not None for option in (trace, severity, grep, since)):
        from steersman.cli.traces import run_records

        if follow:
            raise typer.BadParameter("goes with a process's log, not with stored records", param_hint="--follow")
        since = since or ("7d" if trace else "1h")
        run_records(data_dir, service, trace=trace, severity=severity, grep=grep, since=since, lines=lines, url=url)
        return
    if service is None:
        raise typer.BadParameter("name a service, or ask for records by --trace, --severity, --grep or --since")
    from steersman.cli.operate import run_logs

    run_logs(data_dir, service, lines, follow=follow)


@app.command()
def traces(
    filter_: Annotated[
        str, typer.Argument(metavar="[FILTER]", help="Such as 'duration > 300ms && span.http.route = \"/cart\"'.")
    ] = "",
    service: Annotated[str | None, typer.Option(help="A span of this service.")] = None,
    slow: Annotated[str | None, typer.Option(metavar="DURATION", help="A span longer than this, e.g. 300ms.")] = None,
    errors: Annotated[bool, typer.Option("--errors", help="A span that failed.")] = False,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back: 15m, 2h, 7d.")] = "1h",
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Continue a list that was cut.")] = None,
    why: Annotated[bool, typer.Option("--why", help="What these traces have more often than the others.")] = False,
    url: CollectorOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: JsonOption = False,
) -> None:
    """List traces, newest first. The filter language is TraceQL's; see docs/traces.md."""
    from steersman.cli.traces import run_traces

    run_traces(
        data_dir,
        filter_,
        service=service,
        slow=slow,
        errors=errors,
        since=since,
        limit=limit,
        cursor=cursor,
        why=why,
        as_json=as_json,
        url=url,
    )


@app.command()
def trace(
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or its number in the last list.")],
    details: Annotated[bool, typer.Option("-v", "--details", help="Attributes and events too.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Every span, however many.")] = False,
    url: CollectorOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: JsonOption = False,
) -> None:
    """Draw one trace: what called what, when, and what the time was spent on."""
    from steersman.cli.traces import run_trace

    run_trace(data_dir, trace_id, details=details, all_=all_, as_json=as_json, url=url)


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the Parquet files go.")],
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="2h, 7d, 2026-11-23T15:00:00Z or all.")] = "all",
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="As --from.")] = "now",
    only: Annotated[str | None, typer.Option(help="spans or logs; both by default.", show_default=False)] = None,
    url: CollectorOption = None,
    token_file: CollectorTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Write the spans and log records of a range of time to Parquet files."""
    from steersman.cli.archive import run_export

    run_export(data_dir, out, since=since, until=until, only=only, url=url, token_file=token_file)


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What export wrote.")],
    only: Annotated[str | None, typer.Option(help="spans or logs; both by default.", show_default=False)] = None,
    url: CollectorOption = None,
    token_file: CollectorTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Bring exported spans and log records back; what is there already is left out."""
    from steersman.cli.archive import run_import

    run_import(data_dir, folder, only=only, url=url, token_file=token_file)


@app.command()
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


class PushVerb(StrEnum):
    PUSH = "push"


ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the record.")]


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


@app.command()
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


@policy_app.command("check")
def policy_check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Policy files, or folders of them.")],
) -> None:
    """Read policies as the worker does, and name what is wrong by file and key; exit code 1 if anything is."""
    from steersman.cli.policies import run_check

    raise typer.Exit(run_check(files))


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


@app.command("dashboards")
def dashboards(
    verb: Annotated[PushVerb, typer.Argument(help="push puts data sources, folder and dashboards there.")],
    url: Annotated[str | None, typer.Option(help="A Grafana; without it, the running stack's viewer.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="Holds the token of --url.")] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Provision a Grafana, or the viewer, through grafana-client; doing it twice changes nothing."""
    from steersman.cli.provision import run_push

    run_push(data_dir, url, token_file)


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


class Turn(StrEnum):
    ON = "on"
    OFF = "off"


@app.command("kill-switch")
def kill_switch(
    turn: Annotated[Turn | None, typer.Argument(help="Leave it out to look only.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; asked of whoever turns it.")] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Forbid every automatic action, at once and of every worker, or allow them again."""
    from steersman.cli.operate import run_kill_switch

    run_kill_switch(data_dir, turn, reason)


@app.command(context_settings=HANDED_OVER, add_help_option=False)
def drill(context: typer.Context, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Rehearse the loop on purpose and grade it: drill list | run NAME | report."""
    from steersman.cli.handover import run_drill

    run_drill(data_dir, context.args)


@app.command(context_settings=HANDED_OVER, add_help_option=False)
def rules(context: typer.Context, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Write rules: rules check | test | backtest."""
    from steersman.cli.rules import run_rules

    run_rules(data_dir, context.args)


@app.command(context_settings=HANDED_OVER, add_help_option=False)
def collector(context: typer.Context) -> None:
    """Run the collector alone; `steersman collector --help` lists its options."""
    from steersman.cli.handover import run_collector

    run_collector(context.args)


@app.command()
def demo(
    drill: Annotated[str, typer.Option(help="The drill to run.")] = "latency-surge",
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Instead of .steersman/demo, which is emptied first.")
    ] = None,
    port_offset: OffsetOption = 0,
    backend: BackendOption = Backend.EMBEDDED,
) -> None:
    """Start the stack, run a drill, print its graded report, stop the stack; the drill's exit code."""
    from steersman.cli.demo import run_demo

    run_demo(data_dir, port_offset, drill, backend.value)


def main() -> NoReturn:
    """Errors of ours are one line and exit code 1; wrong usage is exit code 2."""
    try:
        app()
    except SteersmanError as error:
        _fail(str(error))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, EmptyTokenError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)  # 128 + SIGINT, as shells count
    sys.exit(0)


def _fail(message: str) -> NoReturn:
    print(f"steersman: {message}", file=sys.stderr)
    sys.exit(1)
