"""Service-level objectives: what each service promises, what is left of its error budget, how fast it burns."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from dashboards.shapes import HALF, QUARTER, ROW_TO_SERVICE, bars, board, chart, choice, note, number, query, rows
from dashboards.shapes import latest as newest

UID = "steersman-objectives"
OF = 'job=~"$service",slo=~"$slo"'
_BUDGET_STEPS = ((None, "red"), (0.0, "orange"), (0.5, "green"))
_NOTE = """\
An error budget is what an objective leaves room for: 99 % of good requests leave 1 % that may fail. A burn rate of 1
uses it up exactly in its period; at 14.4 a fiftieth of a month's budget goes in an hour. A page wants a high burn rate
over a long window *and* over a short one, so that it comes for what matters and goes when it is over (*Alerting on
SLOs* in Google's SRE workbook). In the demo an hour is a minute: `rules/slos.yml` says how to scale it for production.
"""


def dashboard() -> grafana.Dashboard:
    """The builder; `.build()` gives the model."""
    remaining = f"slo:error_budget_remaining:ratio{{{OF}}}"
    return (
        board(UID, "Service-level objectives", "What each service promises, and how much of its error budget is left.")
        .with_variable(choice("service", "Service", "label_values(slo:objective:ratio, job)", several=True))
        .with_variable(choice("slo", "Objective", "label_values(slo:objective:ratio, slo)", several=True))
        .with_panel(
            number(
                "Least budget left",
                "Of the objective that is worst off: the share of its error budget that is left.",
                "percentunit",
                f"min({remaining})",
                *_BUDGET_STEPS,
                width=QUARTER,
            )
        )
        .with_panel(
            number(
                "Highest burn rate",
                "Of the objective that is worst off, over the shortest window that pages.",
                "none",
                f"max(slo:burn_rate:1m{{{OF}}})",
                (None, "green"),
                (1, "orange"),
                (14.4, "red"),
                width=QUARTER,
            )
        )
        .with_panel(
            number(
                "Objectives missed",
                "Objectives whose budget is used up.",
                "none",
                f"count({remaining} < 0) or vector(0)",
                (None, "green"),
                (1, "red"),
                width=QUARTER,
            )
        )
        .with_panel(
            number(
                "Burn alerts",
                "Burn-rate alerts that fire now.",
                "none",
                'count(ALERTS{alertname=~"ErrorBudget.*",alertstate="firing"}) or vector(0)',
                (None, "green"),
                (1, "red"),
                width=QUARTER,
            )
        )
        .with_panel(
            rows(
                "Objectives",
                "Each objective, the share of good requests over the longest window, and its budget.",
                {
                    "job": ("Service", "string"),
                    "slo": ("Objective", "string"),
                    "Value #A": ("Promised", "percentunit"),
                    "Value #B": ("Kept", "percentunit"),
                    "Value #C": ("Budget left", "percentunit"),
                    "Value #D": ("Burn rate", "none"),
                },
                newest(f"sum by (job, slo) (slo:objective:ratio{{{OF}}})", "A"),
                newest(f"1 - sum by (job, slo) (slo:error_ratio:72m{{{OF}}})", "B"),
                newest(f"sum by (job, slo) ({remaining})", "C"),
                newest(f"sum by (job, slo) (slo:burn_rate:1m{{{OF}}})", "D"),
                steps={
                    "Budget left": _BUDGET_STEPS,
                    "Burn rate": ((None, "green"), (1, "orange"), (14.4, "red")),
                },
                links={"Service": ROW_TO_SERVICE},
            ).height(12)
        )
        .with_panel(
            bars(
                "Budget left",
                "The share of each error budget that is left; an empty bar is a promise broken.",
                "percentunit",
                f"sum by (job, slo) ({remaining})",
                "{{job}} {{slo}}",
                *_BUDGET_STEPS,
                width=HALF,
            )
            .max(1)
            .height(9)
        )
        .with_panel(
            chart(
                "Budget over time",
                "How the budgets went.",
                "percentunit",
                query(f"sum by (job, slo) ({remaining})", "{{job}} {{slo}}"),
                width=HALF,
                minimum=None,
            ).height(9)
        )
        .with_panel(
            chart(
                "Burn rate, fast",
                "Over one minute. At 14.4 and above a page is sent, if the last five seconds agree.",
                "none",
                query(f"sum by (job, slo) (slo:burn_rate:1m{{{OF}}})", "{{job}} {{slo}}"),
                width=HALF,
            )
        )
        .with_panel(
            chart(
                "Burn rate, slow",
                "Over 24 minutes. At 3 and above a ticket is opened, if the last two minutes agree.",
                "none",
                query(f"sum by (job, slo) (slo:burn_rate:24m{{{OF}}})", "{{job}} {{slo}}"),
                width=HALF,
            )
        )
        .with_panel(note("How to read this", _NOTE, height=4))
    )
