"""Alerts and remediations: what fired, what the worker did about it, and how long each took."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from dashboards.shapes import THIRD, board, chart, counted, heat, link, note, number, or_quiet, query, states

UID = "steersman-remediations"
FIRING = 'sum by (alertname, service) (ALERTS{alertstate="firing"})'
TO_ALERT = link("Rules and their alerts", "/alerts")
TO_RUNS = link("What the worker did", "/remediations")
_NOTE = """\
Time to **detect** runs from the fault to the alert: only a drill knows when a fault began, so its report grades it, and
above, *Faults and alerts* shows both on one axis. Time to **act** runs from the alert's arrival at the worker to the
first change of replicas; time to **recover**, from its arrival to the end of the run.
Records with evidence and reasons: [Remediations](/remediations). Rules and runbooks: [Alerts](/alerts).
"""


def dashboard() -> grafana.Dashboard:
    """The builder; `.build()` gives the model."""
    made = board(UID, "Alerts and remediations", "What fired, what the worker did about it, and how long that took.")
    return _courses(_numbers(made))


def _numbers(made: grafana.Dashboard) -> grafana.Dashboard:
    seconds = "remediation_run_duration_seconds"
    return (
        made.with_panel(
            number(
                "Firing",
                "Alerts that fire now.",
                "none",
                'count(ALERTS{alertstate="firing"}) or vector(0)',
                (None, "green"),
                (1, "red"),
                width=4,
            )
        )
        .with_panel(
            number(
                "Pending",
                "Alerts whose expression holds, but not yet for long enough.",
                "none",
                'count(ALERTS{alertstate="pending"}) or vector(0)',
                (None, "green"),
                (1, "orange"),
                width=4,
            )
        )
        .with_panel(
            number(
                "At work",
                "Runs that the worker has under way.",
                "none",
                "sum(remediation_running)",
                (None, "green"),
                (1, "blue"),
                width=4,
            )
        )
        .with_panel(
            number(
                "Ended",
                "Runs that have ended since the worker started.",
                "none",
                "sum(remediation_runs_total) or vector(0)",
                (None, "blue"),
                width=4,
            )
        )
        .with_panel(
            number(
                "Time to act",
                "Mean time from an alert's arrival to the first change of replicas, in the last hour.",
                "s",
                "sum(increase(remediation_time_to_act_seconds_sum[1h]))"
                " / sum(increase(remediation_time_to_act_seconds_count[1h]))",
                (None, "green"),
                (1, "orange"),
                (5, "red"),
                width=4,
            )
        )
        .with_panel(
            number(
                "Time to recover",
                "Mean time from an alert's arrival to the end of its run, of the last hour. Empty without one.",
                "s",
                f"sum(increase({seconds}_sum[1h])) / sum(increase({seconds}_count[1h])) or vector(NaN)",
                (None, "green"),
                (120, "orange"),
                (600, "red"),
                width=4,
            )
        )
    )


def _courses(made: grafana.Dashboard) -> grafana.Dashboard:
    return (
        made.with_panel(
            states(
                "What fired",
                "Each alert while it fired.",
                or_quiet(FIRING, "alertname", "nothing"),
                "{{alertname}} {{service}}",
                {"0": ("quiet", "transparent"), "1": ("firing", "red"), "2": ("firing twice", "dark-red")},
            ).data_links([TO_ALERT])
        )
        .with_panel(
            chart(
                "Faults and alerts",
                "Faults in force beside alerts that fire: the gap between them is the time to detect.",
                "none",
                query("sum by (kind) (max by (job, kind) (fault_active))", "fault: {{kind}}"),
                query('count(ALERTS{alertstate="firing"}) or vector(0)', "alerts firing"),
                query("sum(remediation_running)", "runs at work"),
                links=[TO_RUNS],
            )
        )
        .with_panel(
            chart(
                "Actions",
                "What the worker did in the last five minutes, and what became of it.",
                "none",
                query(
                    or_quiet(counted("remediation_actions_total", "action, status", "5m"), "action"),
                    "{{action}} {{status}}",
                ),
                width=THIRD,
                links=[TO_RUNS],
            )
        )
        .with_panel(
            chart(
                "Ends of runs",
                "How runs ended in the last five minutes, by policy.",
                "none",
                query(
                    or_quiet(counted("remediation_runs_total", "policy, outcome", "5m"), "policy"),
                    "{{policy}} {{outcome}}",
                ),
                width=THIRD,
                links=[TO_RUNS],
            )
        )
        .with_panel(
            chart(
                "Refusals",
                "What guards did not let the worker do in the last five minutes.",
                "none",
                query(or_quiet(counted("remediation_refusals_total", "guard", "5m"), "guard"), "{{guard}}"),
                width=THIRD,
                links=[TO_RUNS],
            )
        )
        .with_panel(
            chart(
                "Alerts taken in",
                "Alerts that reached the worker in the last five minutes, and what it made of them.",
                "none",
                query(
                    or_quiet(counted("remediation_webhook_alerts_total", "result", "5m"), "result"),
                    "{{result}}",
                ),
                width=THIRD,
            )
        )
        .with_panel(
            heat(
                "Time to act",
                "First changes of replicas by how long after the alert's arrival they came.",
                "s",
                "sum by (le) (increase(remediation_time_to_act_seconds_bucket[1m]))",
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Replicas",
                "Replicas that answer, of every service: what scaling did.",
                "none",
                query("sum by (job) (up and on (job) worker_pool_size)"),
                width=THIRD,
            )
        )
        .with_panel(note("How the times are taken", _NOTE, height=4))
    )
