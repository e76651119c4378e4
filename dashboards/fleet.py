"""The fleet overview: rate, errors, duration, saturation and replicas of every service, on one page."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from dashboards.shapes import (
    ROW_TO_SERVICE,
    TO_SERVICE,
    WIDTH,
    board,
    chart,
    choice,
    dependencies,
    number,
    or_quiet,
    query,
    rows,
)
from dashboards.shapes import latest as newest

UID = "steersman-fleet"
SERVICES = 'job=~"$service"'
BETWEEN = 'client!="user"'  # the first server of a trace is called by `user`


def dashboard() -> grafana.Dashboard:
    """The builder; `.build()` gives the model."""
    requests = f"http_server_request_duration_seconds_count{{{SERVICES}}}"
    failed = f'http_server_request_duration_seconds_count{{{SERVICES},http_response_status_code=~"5.."}}'
    buckets = f"http_server_request_duration_seconds_bucket{{{SERVICES}}}"
    ratio = (
        f"sum by (job) (rate({failed}[30s])) / sum by (job) (rate({requests}[30s]))"
        f" or 0 * sum by (job) (rate({requests}[30s]))"
    )
    busy = (
        f"sum by (job) (rate(worker_pool_busy_seconds_total{{{SERVICES}}}[30s]))"
        f" / sum by (job) (worker_pool_size{{{SERVICES}}})"
    )
    failed_calls = f"sum by (client, server) (rate(traces_service_graph_request_failed_total{{{BETWEEN}}}[1m]))"
    p99 = f"histogram_quantile(0.99, sum by (job, le) (rate({buckets}[30s])))"
    return (
        board(
            UID,
            "Fleet overview",
            "Every service at a glance: what is asked of it, what fails, how long it takes, how full it is.",
        )
        .with_variable(
            choice("service", "Service", "label_values(worker_pool_size, job)", several=True, everything=None)
        )
        .with_panel(
            number(
                "Requests",
                "Requests a second, all services chosen.",
                "reqps",
                f"sum(rate({requests}[1m]))",
                (None, "blue"),
            )
        )
        .with_panel(
            number(
                "Errors",
                "Share of requests answered with 5xx.",
                "percentunit",
                f"(sum(rate({failed}[1m])) or vector(0)) / sum(rate({requests}[1m]))",
                (None, "green"),
                (0.01, "orange"),
                (0.05, "red"),
            )
        )
        .with_panel(
            number(
                "p99 latency",
                "99 of 100 requests are quicker than this.",
                "s",
                f"histogram_quantile(0.99, sum by (le) (rate({buckets}[1m])))",
                (None, "green"),
                (0.5, "orange"),
                (1, "red"),
            )
        )
        .with_panel(
            number(
                "Alerts firing",
                "Alerts that fire now, of any severity.",
                "none",
                'count(ALERTS{alertstate="firing"}) or vector(0)',
                (None, "green"),
                (1, "red"),
            )
        )
        .with_panel(
            rows(
                "Services",
                "Each service now; a click on its name opens it in depth.",
                {
                    "job": ("Service", "string"),
                    "Value #A": ("Requests", "reqps"),
                    "Value #B": ("Errors", "percentunit"),
                    "Value #C": ("p99", "s"),
                    "Value #D": ("Busy", "percentunit"),
                    "Value #E": ("Replicas", "none"),
                },
                newest(f"sum by (job) (rate({requests}[30s]))", "A"),
                newest(ratio, "B"),
                newest(p99, "C"),
                newest(busy, "D"),
                newest(f"sum by (job) (up{{{SERVICES}}})", "E"),
                steps={
                    "Errors": ((None, "green"), (0.01, "orange"), (0.05, "red")),
                    "p99": ((None, "green"), (0.5, "orange"), (1, "red")),
                    "Busy": ((None, "green"), (0.7, "orange"), (0.9, "red")),
                },
                links={"Service": ROW_TO_SERVICE},
            )
        )
        .with_panel(
            chart(
                "Request rate",
                "Requests a second by service. A click on a line opens the service in depth.",
                "reqps",
                query(f"sum by (job) (rate({requests}[30s]))"),
                links=[TO_SERVICE],
            )
        )
        .with_panel(
            chart(
                "Error ratio",
                "Share of requests answered with 5xx, by service. Above 5 % an alert fires.",
                "percentunit",
                query(ratio),
                links=[TO_SERVICE],
            )
        )
        .with_panel(
            chart(
                "Latency",
                "Median and 99th percentile by service. The diamonds are traces: click one to see where the time went.",
                "s",
                query(p99, "{{job}} p99", exemplar=True),
                query(f"histogram_quantile(0.5, sum by (job, le) (rate({buckets}[30s])))", "{{job}} p50"),
            )
        )
        .with_panel(
            chart(
                "Saturation",
                "Share of each service's workers that are busy. Near 1, requests queue.",
                "percentunit",
                query(busy),
                links=[TO_SERVICE],
            )
        )
        .with_panel(
            chart("Replicas", "Replicas that answer their scrape.", "none", query(f"sum by (job) (up{{{SERVICES}}})"))
        )
        .with_panel(
            chart(
                "Queue for a worker",
                "Requests that wait for a free worker, by service.",
                "none",
                query(f"sum by (job) (worker_pool_queue_depth{{{SERVICES}}})"),
            )
        )
        .with_panel(
            chart(
                "Calls between services",
                "99th percentile of the calls that one makes to another, as the caller sees them.",
                "s",
                query(
                    "histogram_quantile(0.99, sum by (client, server, le)"
                    f" (rate(traces_service_graph_request_client_seconds_bucket{{{BETWEEN}}}[1m])))",
                    "{{client}} → {{server}}",
                ),
            )
        )
        .with_panel(
            chart(
                "Failed calls between services",
                "Calls a second that failed, by who called whom.",
                "reqps",
                query(or_quiet(f'label_join({failed_calls}, "call", " → ", "client", "server")', "call"), "{{call}}"),
            )
        )
        .with_panel(
            dependencies(
                "Who calls whom",
                "Counted from the traces. The services call one another through the gateway.",
                width=WIDTH,
                height=16,
            )
        )
    )
