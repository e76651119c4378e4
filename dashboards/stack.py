"""The stack watching itself: collector, rules, worker and gateway."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana

from dashboards.shapes import THIRD, board, chart, heat, number, or_quiet, query, states

UID = "steersman-stack"


def dashboard() -> grafana.Dashboard:
    """The builder; `.build()` gives the model."""
    made = board(
        UID, "The stack itself", "Whether what watches the services is well: collector, rules, worker, gateway."
    )
    return _worker(_gateway(_rules(_collector(_numbers(made)))))


def _numbers(made: grafana.Dashboard) -> grafana.Dashboard:
    return (
        made.with_panel(
            number(
                "Targets down",
                "Targets that do not answer their scrape.",
                "none",
                "count(up == 0) or vector(0)",
                (None, "green"),
                (1, "red"),
                width=4,
            )
        )
        .with_panel(
            number(
                "Samples",
                "Samples a second that are stored.",
                "cps",
                "sum(rate(prometheus_tsdb_head_samples_appended_total[30s]))",
                (None, "blue"),
                width=4,
            )
        )
        .with_panel(
            number(
                "Spans",
                "Spans a second that are stored.",
                "cps",
                "sum(rate(otelcol_receiver_accepted_spans_total[30s]))",
                (None, "blue"),
                width=4,
            )
        )
        .with_panel(
            number(
                "Refused",
                "Requests a second that the collector refused.",
                "reqps",
                'sum(rate(steersman_collector_requests_total{outcome!="ok"}[1m])) or vector(0)',
                (None, "green"),
                (0.01, "red"),
                width=4,
            )
        )
        .with_panel(
            number(
                "Rules missed",
                "Evaluations left out in the last five minutes because the one before was still at work.",
                "none",
                "sum(increase(prometheus_rule_group_iterations_missed_total[5m]))",
                (None, "green"),
                (1, "orange"),
                (10, "red"),
                width=4,
            )
        )
        .with_panel(
            number(
                "Configuration",
                "Whether the rule files as they stand on disk are in force.",
                "bool_yes_no",
                "min(prometheus_config_last_reload_successful)",
                (None, "red"),
                (1, "green"),
                width=4,
            )
        )
    )


def _collector(made: grafana.Dashboard) -> grafana.Dashboard:
    return (
        made.with_row(grafana.Row("Collector"))
        .with_panel(
            states(
                "Targets",
                "Whether each target answered its scrape.",
                "up",
                "{{instance}}",
                {"0": ("down", "red"), "1": ("up", "green")},
            )
        )
        .with_panel(
            chart(
                "What comes in",
                "Spans, log records and samples a second.",
                "cps",
                query("sum(rate(otelcol_receiver_accepted_spans_total[30s]))", "spans"),
                query("sum(rate(otelcol_receiver_accepted_log_records_total[30s]))", "log records"),
                query("sum(rate(prometheus_tsdb_head_samples_appended_total[30s]))", "samples"),
            )
        )
        .with_panel(
            heat(
                "Commits",
                "Group commits of spans and logs a second, by how long they took: what an exporter waits for.",
                "s",
                "sum by (le) (rate(steersman_collector_commit_duration_seconds_bucket[30s]))",
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Series",
                "Series that are written to now.",
                "none",
                query("sum(prometheus_tsdb_head_series)", "series"),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Store of metrics",
                "Bytes of the head, in memory, and of the sealed blocks, on disk.",
                "bytes",
                query("sum(steersman_metrics_head_bytes)", "head"),
                query("sum(prometheus_tsdb_storage_blocks_bytes)", "blocks"),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Scrapes",
                "How long the slowest target of each job takes to answer.",
                "s",
                query("max by (job) (scrape_duration_seconds)"),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Export requests",
                "Requests a second by what they carry and how they ended.",
                "reqps",
                query(
                    "sum by (signal, outcome) (rate(steersman_collector_requests_total[30s]))", "{{signal}} {{outcome}}"
                ),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "What did not get in",
                "A second: scrapes that failed, samples out of order, too old or beyond a limit.",
                "cps",
                query("sum(rate(steersman_scrapes_failed_total[1m]))", "scrapes failed"),
                query("sum(rate(prometheus_tsdb_out_of_order_samples_total[1m]))", "out of order"),
                query("sum(rate(prometheus_tsdb_too_old_samples_total[1m]))", "too old"),
                query("sum(rate(steersman_metrics_refused_series_total[1m]))", "series refused"),
                width=THIRD,
            )
        )
    )


def _rules(made: grafana.Dashboard) -> grafana.Dashboard:
    group = 'label_replace({}, "group", "$1", "rule_group", ".*;(.*)")'
    failures = "sum by (integration) (rate(alertmanager_notifications_failed_total[1m]))"
    return (
        made.with_row(grafana.Row("Rules and notifications"))
        .with_panel(
            chart(
                "Evaluation of each group",
                "How long the last evaluation of each group took. Beyond its interval, the next is left out.",
                "s",
                query(group.format("prometheus_rule_group_last_duration_seconds"), "{{group}}"),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Rules that failed",
                "Rules a second whose evaluation failed, by group.",
                "ops",
                query(group.format("rate(prometheus_rule_evaluation_failures_total[1m])"), "{{group}}"),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Notifications",
                "Notifications a second that were attempted and that failed, by integration.",
                "ops",
                query(
                    or_quiet("sum by (integration) (rate(alertmanager_notifications_total[1m]))", "integration"),
                    "{{integration}}",
                ),
                query(or_quiet(failures, "integration"), "{{integration}} failed"),
                width=THIRD,
            )
        )
    )


def _gateway(made: grafana.Dashboard) -> grafana.Dashboard:
    bucket = "traefik_entrypoint_request_duration_seconds_bucket"
    return (
        made.with_row(grafana.Row("Gateway"))
        .with_panel(
            chart(
                "Requests by entry point",
                "`web` is the customers', `mesh` is service to service.",
                "reqps",
                query("sum by (entrypoint) (rate(traefik_entrypoint_requests_total[30s]))", "{{entrypoint}}"),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Latency by entry point",
                "99th percentile as the gateway sees it, its own time included.",
                "s",
                query(f"histogram_quantile(0.99, sum by (entrypoint, le) (rate({bucket}[30s])))", "{{entrypoint}}"),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Open connections",
                "Connections that are open, by entry point.",
                "none",
                query("sum by (entrypoint) (traefik_open_connections)", "{{entrypoint}}"),
                width=THIRD,
            )
        )
    )


def _worker(made: grafana.Dashboard) -> grafana.Dashboard:
    bucket = 'http_server_request_duration_seconds_bucket{job="remediation"}'
    return (
        made.with_row(grafana.Row("Worker, and what the parts take"))
        .with_panel(
            chart(
                "The worker's API",
                "99th percentile of each of its routes.",
                "s",
                query(f"histogram_quantile(0.99, sum by (http_route, le) (rate({bucket}[1m])))", "{{http_route}}"),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Processor time",
                "Processors that each part of the stack keeps busy.",
                "none",
                query('rate(process_cpu_seconds_total{job=~"collector|remediation|gateway"}[30s])'),
                width=THIRD,
            )
        )
        .with_panel(
            chart(
                "Memory",
                "Resident memory of each part of the stack.",
                "bytes",
                query('process_resident_memory_bytes{job=~"collector|remediation|gateway"}'),
                width=THIRD,
            )
        )
    )
