"""
Five dashboards in the form of well-known ones of grafana.com, and samples for all that they ask.

Their panels, variables, units, overrides and transformations are those that the real ones are made of; titles and
queries are our own. They come in the dress of their time: exports with `__inputs`, data sources by variable, rows that
are collapsed, rows of schema 14, `graph` and `singlestat`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cramjam
import httpx

from collector.receivers.remote_write_wire import message_class

Json = dict[str, Any]
SAMPLE_EVERY_S, SAMPLES = 1, 300  # five minutes of them
NEW = {"type": "prometheus", "uid": "${ds_prometheus}"}


def ask(expr: str, legend: str = "__auto", **more: Any) -> Json:
    return {"expr": expr, "legendFormat": legend, "refId": more.pop("refId", "A"), "range": True, **more}


def table(expr: str, ref_id: str) -> Json:
    return {"expr": expr, "refId": ref_id, "format": "table", "instant": True, "legendFormat": ""}


def at(x: int, y: int, w: int, h: int) -> Json:
    return {"x": x, "y": y, "w": w, "h": h}


def steps(*pairs: tuple[float | None, str]) -> Json:
    return {"mode": "absolute", "steps": [{"value": value, "color": shade} for value, shade in pairs]}


def query_variable(name: str, query: str, **more: Any) -> Json:
    return {"name": name, "type": "query", "query": query, "datasource": NEW, "refresh": 1, "sort": 1, **more}


def node_exporter() -> Json:
    """As "Node Exporter Full": gauges, bars, stacks of shares, what goes out turned downwards, a collapsed row."""
    of = 'instance="$node",job="$job"'
    calm = {"unit": "percent", "min": 0, "max": 100, "thresholds": steps((None, "green"), (85, "orange"), (95, "red"))}
    last = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    negative = {
        "matcher": {"id": "byRegexp", "options": "/.*[Tt]rans.*/"},
        "properties": [{"id": "custom.transform", "value": "negative-Y"}],
    }
    stacked = {"custom": {"fillOpacity": 40, "stacking": {"mode": "percent", "group": "A"}}, "unit": "percentunit"}
    disk = {
        "type": "timeseries",
        "title": "Disk, read and written",
        "datasource": NEW,
        "gridPos": at(0, 30, 24, 8),
        "fieldConfig": {"defaults": {"unit": "Bps"}, "overrides": []},
        "options": {"legend": {"calcs": ["min", "mean", "max"], "displayMode": "table", "showLegend": True}},
        "targets": [ask(f"irate(node_disk_read_bytes_total{{{of}}}[$__rate_interval])", "{{device}} read")],
    }
    return {
        "uid": "community-node",
        "title": "Hosts, in full",
        "schemaVersion": 39,
        "graphTooltip": 1,
        "tags": ["linux"],
        "time": {"from": "now-5m", "to": "now"},
        "annotations": {"list": [{"builtIn": 1, "name": "Annotations & Alerts", "type": "dashboard", "hide": True}]},
        "templating": {
            "list": [
                {"name": "ds_prometheus", "type": "datasource", "query": "prometheus", "current": {"value": "default"}},
                query_variable("job", {"query": "label_values(node_uname_info, job)", "refId": "V"}),
                query_variable("nodename", 'label_values(node_uname_info{job="$job"}, nodename)'),
                query_variable("node", 'label_values(node_uname_info{nodename="$nodename"}, instance)'),
                {"name": "diskdevices", "type": "custom", "hide": 2, "query": "sd.+", "current": {"value": "sd.+"}},
            ]
        },
        "panels": [
            {"type": "row", "title": "At a glance", "collapsed": False, "gridPos": at(0, 0, 24, 1), "panels": []},
            {
                "type": "bargauge",
                "title": "Pressure",
                "datasource": NEW,
                "gridPos": at(0, 1, 6, 5),
                "options": {"displayMode": "basic", "orientation": "horizontal", **last},
                "fieldConfig": {"defaults": {"unit": "percentunit", "min": 0, "max": 1, "decimals": 1}},
                "targets": [
                    ask(f"irate(node_pressure_{what}_waiting_seconds_total{{{of}}}[1m])", what.upper(), refId=letter)
                    for letter, what in (("A", "cpu"), ("B", "memory"), ("C", "io"))
                ],
            },
            {
                "type": "gauge",
                "title": "CPU busy",
                "datasource": NEW,
                "gridPos": at(6, 1, 6, 5),
                "options": {"orientation": "auto", "showThresholdLabels": False, **last},
                "fieldConfig": {"defaults": calm, "overrides": []},
                "targets": [ask(f'100 * (1 - avg(rate(node_cpu_seconds_total{{mode="idle",{of}}}[1m])))', "")],
            },
            {
                "type": "gauge",
                "title": "RAM used",
                "datasource": NEW,
                "gridPos": at(12, 1, 6, 5),
                "options": last,
                "fieldConfig": {"defaults": calm},
                "targets": [
                    ask(f"(1 - node_memory_MemAvailable_bytes{{{of}}} / node_memory_MemTotal_bytes{{{of}}}) * 100")
                ],
            },
            {
                "type": "stat",
                "title": "Up for",
                "datasource": NEW,
                "gridPos": at(18, 1, 3, 5),
                "options": {"colorMode": "none", "graphMode": "none", "textMode": "auto", **last},
                "fieldConfig": {"defaults": {"unit": "s", "decimals": 1}},
                "targets": [ask(f"node_time_seconds{{{of}}} - node_boot_time_seconds{{{of}}}")],
            },
            {
                "type": "stat",
                "title": "Cores",
                "datasource": NEW,
                "gridPos": at(21, 1, 3, 5),
                "options": {"colorMode": "none", "graphMode": "none", **last},
                "fieldConfig": {"defaults": {"unit": "short"}},
                "targets": [ask(f"count(count(node_cpu_seconds_total{{{of}}}) by (cpu))", instant=True)],
            },
            {"type": "row", "title": "Basic CPU, memory, net", "gridPos": at(0, 6, 24, 1), "panels": []},
            {
                "type": "timeseries",
                "title": "CPU basic",
                "datasource": NEW,
                "gridPos": at(0, 7, 12, 8),
                "fieldConfig": {"defaults": stacked},
                "targets": [
                    ask(f"sum by (mode) (irate(node_cpu_seconds_total{{{of}}}[$__rate_interval]))", "{{mode}}")
                ],
            },
            {
                "type": "timeseries",
                "title": "Network traffic",
                "datasource": NEW,
                "gridPos": at(12, 7, 12, 8),
                "fieldConfig": {"defaults": {"unit": "bps"}, "overrides": [negative]},
                "targets": [
                    ask(f"rate(node_network_receive_bytes_total{{{of}}}[1m])*8", "Recv {{device}}"),
                    ask(f"rate(node_network_transmit_bytes_total{{{of}}}[1m])*8", "Trans {{device}}", refId="B"),
                ],
            },
            {
                "type": "row",
                "title": "Storage of $node",
                "collapsed": True,
                "gridPos": at(0, 29, 24, 1),
                "panels": [disk],
            },
            {"type": "alertlist", "title": "Alerts", "gridPos": at(0, 40, 8, 6), "options": {"maxItems": 10}},
        ],
    }


def span_metrics() -> Json:
    """As the dashboards of OpenTelemetry's span metrics: tables put together from several queries, a service graph."""
    of = 'service_name=~"$service"'
    calls, took = "calls_total", "duration_milliseconds"
    worst = f"topk(7, histogram_quantile(0.95, sum by (le, service_name) (rate({took}_bucket{{{of}}}[$__range]))))"
    return {
        "__inputs": [{"name": "DS_PROMETHEUS", "label": "Prometheus", "type": "datasource", "pluginId": "prometheus"}],
        "__requires": [{"type": "panel", "id": "bargauge", "name": "Bar gauge", "version": ""}],
        "uid": "community-spans",
        "title": "Spans of services",
        "schemaVersion": 37,
        "time": {"from": "now-5m", "to": "now"},
        "templating": {
            "list": [
                query_variable(
                    "service",
                    f"query_result(count by (service_name) ({calls}))",
                    regex='/.*service_name="(.*)".*/',
                    multi=True,
                    includeAll=True,
                    allValue=".*",
                    datasource="${DS_PROMETHEUS}",
                ),
                {"name": "topk", "type": "textbox", "query": "7", "current": {"value": "7"}},
            ]
        },
        "panels": [
            {
                "type": "bargauge",
                "title": "Slowest, 95th percentile",
                "datasource": "${DS_PROMETHEUS}",
                "gridPos": at(0, 0, 12, 8),
                "options": {
                    "displayMode": "gradient",
                    "orientation": "horizontal",
                    "reduceOptions": {"calcs": ["max"]},
                },
                "fieldConfig": {"defaults": {"unit": "ms", "color": {"mode": "continuous-GrYlRd"}}},
                "targets": [ask(worst, "{{service_name}}")],
            },
            {
                "type": "gauge",
                "title": "Calls a second",
                "datasource": "${DS_PROMETHEUS}",
                "gridPos": at(12, 0, 12, 8),
                "options": {"reduceOptions": {"calcs": ["mean"]}, "showThresholdMarkers": True},
                "fieldConfig": {"defaults": {"unit": "reqps", "min": 0}},
                "targets": [ask(f"topk($topk, sum by (service_name) (rate({calls}{{{of}}}[1m])))", "{{service_name}}")],
            },
            {
                "type": "table",
                "title": "Operations",
                "datasource": "${DS_PROMETHEUS}",
                "gridPos": at(0, 8, 24, 9),
                "options": {"showHeader": True, "sortBy": [{"displayName": "p95", "desc": True}]},
                "fieldConfig": {
                    "defaults": {"custom": {"align": "auto", "displayMode": "auto"}},
                    "overrides": [
                        {
                            "matcher": {"id": "byName", "options": "p95"},
                            "properties": [
                                {"id": "unit", "value": "ms"},
                                {"id": "custom.displayMode", "value": "lcd-gauge"},
                            ],
                        }
                    ],
                },
                "transformations": [
                    {"id": "merge", "options": {}},
                    {
                        "id": "organize",
                        "options": {
                            "excludeByName": {"Time": True},
                            "indexByName": {"service_name": 0, "span_name": 1, "Value #A": 2, "Value #B": 3},
                            "renameByName": {"Value #A": "Calls", "Value #B": "p95"},
                        },
                    },
                    {"id": "sortBy", "options": {"sort": [{"field": "p95", "desc": True}]}},
                    {"id": "groupBy", "options": {"fields": {"service_name": {"operation": "groupby"}}}},
                ],
                "targets": [
                    table(f"sum by (service_name, span_name) (rate({calls}{{{of}}}[$__range]))", "A"),
                    table(
                        "histogram_quantile(0.95, sum by (le, service_name, span_name)"
                        f" (rate({took}_bucket{{{of}}}[$__range])))",
                        "B",
                    ),
                ],
            },
            {
                "type": "heatmap",
                "title": "How long",
                "datasource": "${DS_PROMETHEUS}",
                "gridPos": at(0, 17, 12, 8),
                "options": {"calculate": False, "yAxis": {"unit": "ms"}},
                "targets": [
                    ask(f"sum by (le) (increase({took}_bucket{{{of}}}[$__rate_interval]))", "{{le}}", format="heatmap")
                ],
            },
            {
                "type": "timeseries",
                "title": "Share of errors",
                "datasource": "${DS_PROMETHEUS}",
                "gridPos": at(12, 17, 12, 8),
                "fieldConfig": {"defaults": {"unit": "percentunit", "custom": {"drawStyle": "bars"}}},
                "targets": [
                    ask(
                        f'sum by (service_name) (rate({calls}{{status_code="STATUS_CODE_ERROR",{of}}}[1m]))'
                        f" / sum by (service_name) (rate({calls}{{{of}}}[1m]))",
                        "{{service_name}}",
                    )
                ],
            },
            {
                "type": "nodeGraph",
                "title": "Service graph",
                "datasource": {"type": "tempo", "uid": "tempo"},
                "gridPos": at(0, 25, 24, 10),
                "targets": [{"queryType": "serviceMap", "refId": "A"}],
            },
        ],
    }


def traefik() -> Json:
    """As Traefik's own: donuts, an interval to choose, a row repeated for each entry point."""
    of = 'entrypoint=~"$entrypoint"'
    total = "traefik_entrypoint_requests_total"
    return {
        "uid": "community-traefik",
        "title": "A gateway",
        "schemaVersion": 38,
        "time": {"from": "now-5m", "to": "now"},
        "refresh": "",
        "templating": {
            "list": [
                {"name": "DS_PROMETHEUS", "type": "datasource", "query": "prometheus", "current": {"value": "prom"}},
                query_variable(
                    "entrypoint",
                    f"label_values({total}, entrypoint)",
                    multi=True,
                    includeAll=True,
                    current={"text": ["All"], "value": ["$__all"]},
                ),
                {
                    "name": "interval",
                    "type": "interval",
                    "query": "1m,5m,10m",
                    "auto": True,
                    "current": {"value": "1m"},
                },
            ]
        },
        "panels": [
            {
                "type": "stat",
                "title": "Gateways",
                "datasource": {"type": "prometheus", "uid": "${DS_PROMETHEUS}"},
                "gridPos": at(0, 0, 4, 5),
                "fieldConfig": {"defaults": {"mappings": [{"type": "value", "options": {"0": {"text": "none"}}}]}},
                "options": {"reduceOptions": {"calcs": ["last"]}, "colorMode": "background", "graphMode": "none"},
                "targets": [ask("count(traefik_config_reloads_total)")],
            },
            {
                "type": "piechart",
                "title": "Requests by code",
                "datasource": {"type": "prometheus", "uid": "${DS_PROMETHEUS}"},
                "gridPos": at(4, 0, 10, 5),
                "options": {
                    "pieType": "donut",
                    "legend": {"displayMode": "table", "placement": "right", "values": ["value", "percent"]},
                    "reduceOptions": {"calcs": ["lastNotNull"]},
                },
                "targets": [ask(f"sum by (code) (rate({total}{{{of}}}[$interval]))", "{{code}}")],
            },
            {
                "type": "barchart",
                "title": "Requests by method",
                "datasource": {"type": "prometheus", "uid": "${DS_PROMETHEUS}"},
                "gridPos": at(14, 0, 10, 5),
                "options": {"orientation": "horizontal", "xField": "method"},
                "targets": [ask(f"sum by (method) (rate({total}{{{of}}}[1m]))", "{{method}}")],
            },
            {
                "type": "row",
                "title": "Entry point $entrypoint",
                "repeat": "entrypoint",
                "collapsed": False,
                "gridPos": at(0, 5, 24, 1),
                "panels": [],
            },
            {
                "type": "timeseries",
                "title": "Requests at $entrypoint",
                "datasource": {"type": "prometheus", "uid": "${DS_PROMETHEUS}"},
                "gridPos": at(0, 6, 12, 7),
                "interval": "10s",
                "fieldConfig": {"defaults": {"unit": "reqps", "custom": {"stacking": {"mode": "normal"}}}},
                "targets": [ask(f"sum by (code) (rate({total}{{{of}}}[$interval]))", "{{code}}")],
            },
            {
                "type": "state-timeline",
                "title": "Reloads that failed at $entrypoint",
                "datasource": {"type": "prometheus", "uid": "${DS_PROMETHEUS}"},
                "gridPos": at(12, 6, 12, 7),
                "fieldConfig": {
                    "defaults": {
                        "mappings": [
                            {
                                "type": "range",
                                "options": {"from": 1, "to": None, "result": {"text": "yes", "color": "red"}},
                            },
                            {"type": "value", "options": {"0": {"text": "no", "color": "green"}}},
                        ]
                    }
                },
                "targets": [ask("traefik_config_last_reload_failure")],
            },
            {
                "type": "geomap",
                "title": "Where from",
                "datasource": {"type": "prometheus", "uid": "${DS_PROMETHEUS}"},
                "gridPos": at(0, 30, 12, 8),
                "targets": [ask(f"sum by (code) ({total})", format="table")],
            },
        ],
    }


def nats() -> Json:
    """As the first dashboards of NATS: rows of schema 14, `graph` and `singlestat`, a data source by name."""

    def old_graph(title: str, expr: str, unit: str, **more: Any) -> Json:
        return {
            "type": "graph",
            "title": title,
            "span": 4,
            "datasource": "$DS",
            "fill": 1,
            "linewidth": 2,
            "nullPointMode": "null",
            "legend": {"show": True, "values": True, "current": True, "max": True, "alignAsTable": True},
            "yaxes": [{"format": unit, "logBase": 1, "min": "0", "show": True}, {"format": "short", "show": True}],
            "targets": [{"expr": expr, "intervalFactor": 2, "legendFormat": "{{server_id}}", "refId": "A", "step": 10}],
            **more,
        }

    return {
        "uid": "community-nats",
        "title": "A message bus",
        "schemaVersion": 14,
        "style": "dark",
        "sharedCrosshair": True,
        "time": {"from": "now-5m", "to": "now"},
        "templating": {
            "list": [
                {"name": "DS", "type": "datasource", "query": "prometheus", "current": {"value": "Prometheus"}},
                query_variable("server", "label_values(gnatsd_varz_cpu, server_id)", multi=True, includeAll=True),
            ]
        },
        "rows": [
            {
                "title": "Load",
                "height": "250px",
                "panels": [
                    old_graph("Server CPU", 'gnatsd_varz_cpu{server_id=~"$server"}', "percent"),
                    old_graph("Server memory", 'gnatsd_varz_mem{server_id=~"$server"}', "bytes"),
                    {
                        "type": "singlestat",
                        "title": "Slow consumers",
                        "span": 4,
                        "datasource": "$DS",
                        "format": "none",
                        "valueName": "current",
                        "colorValue": True,
                        "thresholds": "1,10",
                        "colors": ["rgba(50, 172, 45, 0.97)", "rgba(237, 129, 40, 0.89)", "rgba(245, 54, 54, 0.9)"],
                        "sparkline": {"show": True, "full": False},
                        "valueMaps": [{"op": "=", "text": "N/A", "value": "null"}],
                        "targets": [{"expr": "sum(gnatsd_varz_slow_consumers)", "refId": "A"}],
                    },
                ],
            },
            {
                "title": "Throughput",
                "panels": [
                    old_graph(
                        "Messages",
                        'rate(gnatsd_varz_in_msgs{server_id=~"$server"}[1m])',
                        "wps",
                        seriesOverrides=[{"alias": "/out/", "transform": "negative-Y", "yaxis": 2}],
                    ),
                    {
                        "type": "singlestat",
                        "title": "Connections",
                        "span": 4,
                        "datasource": "$DS",
                        "format": "short",
                        "gauge": {"show": True, "minValue": 0, "maxValue": 500, "thresholdMarkers": True},
                        "thresholds": "200,400",
                        "valueName": "avg",
                        "targets": [{"expr": "sum(gnatsd_varz_connections)", "refId": "A"}],
                    },
                    {
                        "type": "table",
                        "title": "Servers",
                        "span": 4,
                        "datasource": "$DS",
                        "transform": "timeseries_aggregations",
                        "columns": [{"text": "Current", "value": "current"}, {"text": "Max", "value": "max"}],
                        "styles": [{"pattern": "/.*/", "type": "number", "unit": "short", "decimals": 1}],
                        "targets": [
                            {"expr": "gnatsd_varz_subscriptions", "legendFormat": "{{server_id}}", "refId": "A"}
                        ],
                    },
                ],
            },
        ],
    }


def python_process() -> Json:
    """As the dashboards of prometheus_client: a log axis, thresholds as lines, a histogram, a list of dashboards."""
    of = 'job=~"$job"'
    return {
        "uid": "community-python",
        "title": "Python processes",
        "schemaVersion": 27,
        "time": {"from": "now-5m", "to": "now"},
        "templating": {"list": [query_variable("job", "label_values(python_info, job)", multi=True, includeAll=True)]},
        "panels": [
            {
                "type": "text",
                "title": "",
                "gridPos": at(0, 0, 24, 3),
                "options": {"mode": "html", "content": "<h2>Processes</h2><script>alert(1)</script>"},
            },
            {
                "type": "timeseries",
                "title": "Resident memory",
                "gridPos": at(0, 3, 12, 8),
                "fieldConfig": {
                    "defaults": {
                        "unit": "decbytes",
                        "custom": {"scaleDistribution": {"type": "log", "log": 2}, "thresholdsStyle": {"mode": "line"}},
                        "thresholds": steps((None, "green"), (90_000_000, "red")),
                    }
                },
                "targets": [ask(f"process_resident_memory_bytes{{{of}}}", "{{instance}}")],
            },
            {
                "type": "graph",
                "title": "Collected objects",
                "gridPos": at(12, 3, 12, 8),
                "bars": True,
                "lines": False,
                "stack": True,
                "percentage": True,
                "legend": {"show": True},
                "yaxes": [{"format": "cps"}, {"format": "short"}],
                "targets": [ask(f"rate(python_gc_objects_collected_total{{{of}}}[1m])", "generation {{generation}}")],
            },
            {
                "type": "histogram",
                "title": "CPU, spread",
                "gridPos": at(0, 11, 8, 8),
                "options": {"bucketSize": 0.05, "combine": True},
                "targets": [ask(f"rate(process_cpu_seconds_total{{{of}}}[1m])")],
            },
            {
                "type": "status-history",
                "title": "Descriptors",
                "gridPos": at(8, 11, 8, 8),
                "fieldConfig": {"defaults": {"thresholds": steps((None, "green"), (30, "yellow"), (60, "red"))}},
                "targets": [ask(f"process_open_fds{{{of}}}", "{{instance}}")],
            },
            {"type": "dashlist", "title": "Others", "gridPos": at(16, 11, 8, 8), "options": {"showSearch": True}},
        ],
    }


ALL: tuple[Callable[[], Json], ...] = (node_exporter, span_metrics, traefik, nats, python_process)
UNDRAWN = {"alertlist": "Alerts", "geomap": "Where from", "dashlist": "Others"}  # kinds that only Grafana draws


def samples() -> Iterator[tuple[dict[str, str], float, float]]:
    """Labels, the first value, and what a second adds to it."""
    host = {"job": "node", "instance": "h1:9100"}
    yield {"__name__": "node_uname_info", "nodename": "h1", **host}, 1, 0
    for name, value in {"MemAvailable": 3e9, "MemTotal": 8e9}.items():
        yield {"__name__": f"node_memory_{name}_bytes", **host}, value, 0
    yield {"__name__": "node_time_seconds", **host}, 2e9, 1
    yield {"__name__": "node_boot_time_seconds", **host}, 1.9e9, 0
    for what, share in {"cpu": 0.2, "memory": 0.05, "io": 0.1}.items():
        yield {"__name__": f"node_pressure_{what}_waiting_seconds_total", **host}, 10, share
    for mode, share in {"idle": 0.6, "user": 0.3, "system": 0.1}.items():
        for cpu in "01":
            yield {"__name__": "node_cpu_seconds_total", "mode": mode, "cpu": cpu, **host}, 1000, share
    for way, rate in {"receive": 4e5, "transmit": 2e5}.items():
        yield {"__name__": f"node_network_{way}_bytes_total", "device": "eth0", **host}, 1e6, rate
    yield {"__name__": "node_disk_read_bytes_total", "device": "sda", **host}, 1e6, 3e5
    for service, slow in {"shop": 40, "till": 200}.items():
        span = {"service_name": service, "span_name": "GET /", "job": service}
        for status, rate in {"STATUS_CODE_UNSET": 9, "STATUS_CODE_ERROR": 1}.items():
            yield {"__name__": "calls_total", "status_code": status, **span}, 100, rate
        for bound in (10, 50, 250, math.inf):
            le = "+Inf" if math.isinf(bound) else str(bound)
            share = 10 if bound > slow else 10 * bound / slow / 4
            yield {"__name__": "duration_milliseconds_bucket", "le": le, **span}, 100, share
    for entrypoint in ("web", "api"):
        for code, method, rate in (("200", "GET", 9), ("404", "GET", 1), ("200", "POST", 3)):
            labels = {"entrypoint": entrypoint, "code": code, "method": method, "job": "gw"}
            yield {"__name__": "traefik_entrypoint_requests_total", **labels}, 50, rate
    yield {"__name__": "traefik_config_reloads_total", "job": "gw"}, 3, 0
    yield {"__name__": "traefik_config_last_reload_failure", "job": "gw"}, 0, 0
    for server in ("n1", "n2"):
        of = {"server_id": server, "job": "nats"}
        for name, value, rate in (
            ("cpu", 4, 0), ("mem", 3e7, 0), ("slow_consumers", 1, 0), ("in_msgs", 5, 80), ("connections", 120, 0),
            ("subscriptions", 40, 0),
        ):  # fmt: skip
            yield {"__name__": f"gnatsd_varz_{name}", **of}, value, rate
    python = {"job": "app", "instance": "a1"}
    yield {"__name__": "python_info", "implementation": "CPython", **python}, 1, 0
    yield {"__name__": "process_resident_memory_bytes", "community": "yes", **python}, 8e7, 1e5
    yield {"__name__": "process_cpu_seconds_total", "community": "yes", **python}, 10, 0.3
    yield {"__name__": "process_open_fds", "community": "yes", **python}, 20, 0.2
    for generation in "012":
        of = {"generation": generation, **python}
        yield {"__name__": "python_gc_objects_collected_total", **of}, 100, 5 * (3 - int(generation))


def write_samples(url: str) -> None:
    """Five minutes of them, up to now, by remote write."""
    end = time.time()
    request = message_class("WriteRequest")()
    for labels, first, per_second in samples():
        series = request.timeseries.add()
        for name, value in sorted(labels.items()):
            series.labels.add(name=name, value=value)
        for number in range(SAMPLES):
            age = (SAMPLES - 1 - number) * SAMPLE_EVERY_S
            value = first + per_second * number * SAMPLE_EVERY_S
            series.samples.add(value=value, timestamp=round((end - age) * 1000))
    body = bytes(cramjam.snappy.compress_raw(request.SerializeToString()))
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    httpx.post(f"{url}/api/v1/write", content=body, headers=headers, trust_env=False).raise_for_status()


def write_call(otlp_url: str) -> None:
    """One service calls another, so that there is a graph of services."""
    now = time.time_ns()
    spans = [
        {
            "traceId": "5b8efff798038103d269b633813fc60c",
            "spanId": f"00f067aa0ba902b{number}",
            "name": "GET /",
            "kind": kind,
            "startTimeUnixNano": str(now - 50_000_000),
            "endTimeUnixNano": str(now - 10_000_000),
            **({"parentSpanId": "00f067aa0ba902b0"} if number else {}),
        }
        for number, kind in enumerate((3, 2))  # a client, a server
    ]
    groups = [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
            "scopeSpans": [{"spans": [span]}],
        }
        for service, span in zip(("shop", "till"), spans, strict=True)
    ]
    httpx.post(f"{otlp_url}/v1/traces", json={"resourceSpans": groups}, trust_env=False).raise_for_status()


def panels_of(board: Mapping[str, Any]) -> Iterator[Json]:
    """All that stand for themselves, those of collapsed rows and of old rows among them."""
    for panel in [*board.get("panels", []), *(one for row in board.get("rows", []) for one in row["panels"])]:
        if panel["type"] == "row":
            yield from panel.get("panels") or []
        else:
            yield panel
