"""One service in depth: by route, by replica, what it calls, its slowest traces."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from dashboards.shapes import (
    HALF,
    THIRD,
    board,
    chart,
    choice,
    heat,
    latest,
    link,
    number,
    query,
    rows,
    states,
    traces,
)

UID = "steersman-service"
FIRST = "checkout"  # it calls most of the others
OF = 'job=~"$service"'
REPLICA = f'{OF},instance=~"$instance"'
SPANS = 'service_name=~"$service"'
TO_TRACES = link("Its traces", "/traces?service=${service}&operation=${__data.fields.Operation}")


def dashboard() -> grafana.Dashboard:
    """The builder; `.build()` gives the model."""
    count = "http_server_request_duration_seconds_count"
    bucket = f"http_server_request_duration_seconds_bucket{{{REPLICA}}}"
    made = (
        board(
            UID,
            "Service in depth",
            "One service: its routes, its replicas, what it calls, and the traces in which it was slow.",
        )
        .with_variable(choice("service", "Service", "label_values(worker_pool_size, job)", several=False, first=FIRST))
        .with_variable(
            choice("instance", "Replica", 'label_values(worker_pool_size{job=~"$service"}, instance)', several=True)
        )
    )
    return _called(_replicas(_routes(_numbers(made, count, bucket), count, bucket)))


def _numbers(made: grafana.Dashboard, count: str, bucket: str) -> grafana.Dashboard:
    failed = f'sum(rate({count}{{{REPLICA},http_response_status_code=~"5.."}}[1m])) or vector(0)'
    return (
        made.with_panel(
            number(
                "Requests",
                "Requests a second that it answers.",
                "reqps",
                f"sum(rate({count}{{{REPLICA}}}[1m]))",
                (None, "blue"),
            )
        )
        .with_panel(
            number(
                "Errors",
                "Share of requests answered with 5xx.",
                "percentunit",
                f"({failed}) / sum(rate({count}{{{REPLICA}}}[1m]))",
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
                f"histogram_quantile(0.99, sum by (le) (rate({bucket}[1m])))",
                (None, "green"),
                (0.5, "orange"),
                (1, "red"),
            )
        )
        .with_panel(
            number(
                "Busy workers",
                "Share of its workers that are held. Near 1, requests queue.",
                "percentunit",
                f"sum(rate(worker_pool_busy_seconds_total{{{REPLICA}}}[30s])) / sum(worker_pool_size{{{REPLICA}}})",
                (None, "green"),
                (0.7, "orange"),
                (0.9, "red"),
            )
        )
    )


def _routes(made: grafana.Dashboard, count: str, bucket: str) -> grafana.Dashboard:
    failed = f'sum by (http_route) (rate({count}{{{REPLICA},http_response_status_code=~"5.."}}[30s]))'
    total = f"sum by (http_route) (rate({count}{{{REPLICA}}}[30s]))"
    return (
        made.with_row(grafana.Row("By route"))
        .with_panel(
            chart(
                "Requests by route",
                "Requests a second of each route and method.",
                "reqps",
                query(
                    f"sum by (http_request_method, http_route) (rate({count}{{{REPLICA}}}[30s]))",
                    "{{http_request_method}} {{http_route}}",
                ),
            )
        )
        .with_panel(
            chart(
                "Latency by route",
                "99th percentile of each route. The diamonds are traces: click one to see where the time went.",
                "s",
                query(
                    f"histogram_quantile(0.99, sum by (http_route, le) (rate({bucket}[30s])))",
                    "{{http_route}}",
                    exemplar=True,
                ),
            )
        )
        .with_panel(
            chart(
                "Errors by route",
                "Share of each route's requests answered with 5xx.",
                "percentunit",
                query(f"{failed} / {total} or 0 * {total}", "{{http_route}}"),
            )
        )
        .with_panel(
            heat(
                "How long requests took",
                "Requests a second in each band of latency: a second stripe is a second kind of request.",
                "s",
                f"sum by (le) (rate({bucket}[30s]))",
            )
        )
    )


def _replicas(made: grafana.Dashboard) -> grafana.Dashboard:
    bucket = f"http_server_request_duration_seconds_bucket{{{REPLICA}}}"
    return (
        made.with_row(grafana.Row("By replica"))
        .with_panel(
            chart(
                "Requests by replica",
                "Requests a second that each replica answers. The gateway shares them out in turn.",
                "reqps",
                query(
                    f"sum by (instance) (rate(http_server_request_duration_seconds_count{{{REPLICA}}}[30s]))",
                    "{{instance}}",
                ),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Latency by replica",
                "99th percentile of each replica: one that stands out is ill, all of them together lack capacity.",
                "s",
                query(
                    f"histogram_quantile(0.99, sum by (instance, le) (rate({bucket}[30s])))",
                    "{{instance}}",
                    exemplar=True,
                ),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Busy share by replica",
                "Share of each replica's workers that are held.",
                "percentunit",
                query(
                    f"sum by (instance) (rate(worker_pool_busy_seconds_total{{{REPLICA}}}[30s]))"
                    f" / sum by (instance) (worker_pool_size{{{REPLICA}}})",
                    "{{instance}}",
                ),
                width=THIRD,
            )
        )
        .with_panel(
            states(
                "Replicas that answer",
                "Whether the replica answered its scrape; where a bar begins, a replica started.",
                f"up{{{REPLICA}}}",
                "{{instance}}",
                {"0": ("down", "red"), "1": ("up", "green")},
            )
        )
        .with_panel(
            chart(
                "Waiting for a worker",
                "99th percentile of the wait for a worker, and how many requests wait now.",
                "s",
                query(
                    f"histogram_quantile(0.99, sum by (le) (rate(worker_pool_wait_seconds_bucket{{{REPLICA}}}[30s])))",
                    "wait p99",
                ),
                query(f"sum(worker_pool_queue_depth{{{REPLICA}}})", "waiting"),
                width=HALF,
            ).override_by_name("waiting", _right_axis())
        )
        .with_panel(
            chart(
                "Faults in force",
                "1 while a drill, or a person, has broken the service on purpose.",
                "none",
                query(f"max by (kind) (fault_active{{{OF}}})", "{{kind}}"),
                width=HALF,
            )
        )
        .with_panel(
            chart(
                "Turned away",
                "Requests a second that waited too long for a worker and were answered with 503.",
                "reqps",
                query(f"sum by (instance) (rate(worker_pool_rejected_total{{{REPLICA}}}[30s]))", "{{instance}}"),
                width=HALF,
            )
        )
    )


def _right_axis() -> list[DynamicConfigValue]:
    value = DynamicConfigValue
    return [value("unit", "none"), value("custom.axisPlacement", "right"), value("custom.fillOpacity", 0)]


def _called(made: grafana.Dashboard) -> grafana.Dashboard:
    calls = "traces_span_metrics_calls_total"
    took = "traces_span_metrics_duration_milliseconds"
    total = f"sum by (span_name) (rate({calls}{{{SPANS}}}[1m]))"
    failed = f'sum by (span_name) (rate({calls}{{{SPANS},status_code="STATUS_CODE_ERROR"}}[1m]))'
    others = f'{SPANS},span_kind=~"SPAN_KIND_CLIENT|SPAN_KIND_PRODUCER"'
    return (
        made.with_row(grafana.Row("Where its time goes"))
        .with_panel(
            rows(
                "Operations",
                "What its spans were about in the last minute, whether sampled or not. All together is what they"
                " took, a second: 2 s means that two were under way at any moment.",
                {
                    "span_name": ("Operation", "string"),
                    "Value #A": ("Calls", "reqps"),
                    "Value #B": ("Errors", "percentunit"),
                    "Value #C": ("p99", "ms"),
                    "Value #D": ("All together", "ms"),
                },
                latest(total, "A"),
                latest(f"{failed} / {total} or 0 * {total}", "B"),
                latest(
                    f"histogram_quantile(0.99, sum by (span_name, le) (rate({took}_bucket{{{SPANS}}}[1m])))",
                    "C",
                ),
                latest(f"sum by (span_name) (rate({took}_sum{{{SPANS}}}[1m]))", "D"),
                width=HALF,
                steps={
                    "Errors": ((None, "green"), (0.01, "orange"), (0.05, "red")),
                    "p99": ((None, "green"), (500, "orange"), (1000, "red")),
                },
                links={"Operation": TO_TRACES},
            )
        )
        .with_panel(
            chart(
                "Calls to others",
                "99th percentile of the calls that it makes and of what it publishes, as it sees them. The diamonds are"
                " traces.",
                "ms",
                query(
                    f"histogram_quantile(0.99, sum by (span_name, le) (rate({took}_bucket{{{others}}}[1m])))",
                    "{{span_name}}",
                    exemplar=True,
                ),
                width=HALF,
            )
        )
        .with_panel(
            chart(
                "Answers by status",
                "Requests a second by the status they were answered with.",
                "reqps",
                query(
                    "sum by (http_response_status_code)"
                    f" (rate(http_server_request_duration_seconds_count{{{REPLICA}}}[30s]))",
                    "{{http_response_status_code}}",
                ),
                width=HALF,
            )
        )
        .with_panel(
            chart(
                "Called by",
                "Requests a second that others send to it, by who sends them: counted where two spans of a trace meet.",
                "reqps",
                query(
                    'sum by (client) (rate(traces_service_graph_request_total{server=~"$service"}[1m]))',
                    "{{client}}",
                ),
                width=HALF,
            )
        )
        .with_panel(
            traces(
                "Slow traces",
                "Traces of the service that took longer than 100 ms, newest first; a click opens the waterfall.",
                service="$service",
                minDuration="100ms",
                limit=20,
            )
        )
    )
