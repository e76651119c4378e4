"""The fleet overview: rate, errors, duration, saturation and replicas of every service, on one page."""

from __future__ import annotations

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)

# Provisioning gives the data source this uid, here and on a real Grafana, so that the JSON serves both unchanged.
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
UID = "steersman-fleet"
SERVICES = 'job=~"$service"'

_WIDTH_QUARTER, _WIDTH_HALF = 6, 12  # of Grafana's grid of 24 columns
_HEIGHT_STAT, _HEIGHT_CHART = 4, 8  # in Grafana's grid rows of 30 px


def _query(expr: str, legend: str = "{{job}}", *, exemplar: bool = False) -> prometheus.Dataquery:
    return prometheus.Dataquery().datasource(PROMETHEUS).expr(expr).legend_format(legend).exemplar(exemplar)


def _thresholds(*steps: tuple[float | None, str]) -> grafana.ThresholdsConfig:
    absolute = [Threshold(value=value, color=color) for value, color in steps]
    return grafana.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(absolute)


def _chart(title: str, description: str, unit: str, *queries: prometheus.Dataquery) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    panel = timeseries.Panel().title(title).description(description).unit(unit).datasource(PROMETHEUS).legend(legend)
    panel = panel.span(_WIDTH_HALF).height(_HEIGHT_CHART).min(0)
    for query in queries:
        panel = panel.with_target(query)
    return panel


def _stat(title: str, description: str, unit: str, expr: str, *steps: tuple[float | None, str]) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(PROMETHEUS)
        .span(_WIDTH_QUARTER)
        .height(_HEIGHT_STAT)
        .graph_mode(BigValueGraphMode.AREA)
        .thresholds(_thresholds(*steps))
        .with_target(_query(expr, legend=""))
    )


def dashboard() -> grafana.Dashboard:
    """The builder; `.build()` gives the model."""
    service = (
        grafana.QueryVariable("service")
        .label("Service")
        .datasource(PROMETHEUS)
        .query("label_values(worker_pool_size, job)")
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    requests = f"http_server_request_duration_seconds_count{{{SERVICES}}}"
    failed = f'http_server_request_duration_seconds_count{{{SERVICES},http_response_status_code=~"5.."}}'
    buckets = f"http_server_request_duration_seconds_bucket{{{SERVICES}}}"
    return (
        grafana.Dashboard("Fleet overview")
        .uid(UID)
        .description("Every service at a glance: what is asked of it, what fails, how long it takes, how full it is.")
        .tags(["steersman"])
        .refresh("5s")
        .time("now-15m", "now")
        .timezone("browser")
        .with_variable(service)
        .with_panel(
            _stat(
                "Requests",
                "Requests a second, all services chosen.",
                "reqps",
                f"sum(rate({requests}[1m]))",
                (None, "blue"),
            )
        )
        .with_panel(
            _stat(
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
            _stat(
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
            _stat(
                "Alerts firing",
                "Alerts that fire now, of any severity.",
                "none",
                'count(ALERTS{alertstate="firing"}) or vector(0)',
                (None, "green"),
                (1, "red"),
            )
        )
        .with_panel(
            _chart(
                "Request rate",
                "Requests a second by service.",
                "reqps",
                _query(f"sum by (job) (rate({requests}[30s]))"),
            )
        )
        .with_panel(
            _chart(
                "Error ratio",
                "Share of requests answered with 5xx, by service. Above 5 % an alert fires.",
                "percentunit",
                _query(
                    f"sum by (job) (rate({failed}[30s])) / sum by (job) (rate({requests}[30s]))"
                    f" or 0 * sum by (job) (rate({requests}[30s]))"
                ),
            )
        )
        .with_panel(
            _chart(
                "Latency",
                "Median and 99th percentile by service. The dots are traces: click one to see where the time went.",
                "s",
                _query(
                    f"histogram_quantile(0.99, sum by (job, le) (rate({buckets}[30s])))", "{{job}} p99", exemplar=True
                ),
                _query(f"histogram_quantile(0.5, sum by (job, le) (rate({buckets}[30s])))", "{{job}} p50"),
            )
        )
        .with_panel(
            _chart(
                "Saturation",
                "Share of each service's workers that are busy. Near 1, requests queue.",
                "percentunit",
                _query(
                    f"sum by (job) (rate(worker_pool_busy_seconds_total{{{SERVICES}}}[30s]))"
                    f" / sum by (job) (worker_pool_size{{{SERVICES}}})"
                ),
            )
        )
        .with_panel(
            _chart("Replicas", "Replicas that answer their scrape.", "none", _query(f"sum by (job) (up{{{SERVICES}}})"))
        )
        .with_panel(
            _chart(
                "Queue for a worker",
                "Requests that wait for a free worker, by service.",
                "none",
                _query(f"sum by (job) (worker_pool_queue_depth{{{SERVICES}}})"),
            )
        )
    )
