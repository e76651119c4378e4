"""The shapes of panel that our dashboards are made of, so that they all look and read alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    nodegraph,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    AxisPlacement,
    BarGaugeDisplayMode,
    BigValueGraphMode,
    HeatmapCellLayout,
    LegendDisplayMode,
    LegendPlacement,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

# Provisioning gives the data sources these uids, here and on a real Grafana, so that the JSON serves both unchanged.
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
JAEGER = DataSourceRef(type_val="jaeger", uid="jaeger")
TAG = "steersman"  # what the dashboards know each other by

WIDTH = 24  # columns of Grafana's grid
QUARTER, THIRD, HALF = 6, 8, 12
STAT_HEIGHT, CHART_HEIGHT = 4, 8  # in Grafana's grid rows of 30 px

Step = tuple[float | None, str]  # from this value on (None: from below), this colour
GREEN: tuple[Step, ...] = ((None, "green"),)
BLUE: tuple[Step, ...] = ((None, "blue"),)


def board(uid: str, title: str, description: str, *, since: str = "now-5m") -> grafana.Dashboard:
    """A dashboard with what all of ours have: the links to one another, the range, the refresh."""
    others = (
        grafana.DashboardLink("Dashboards")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(False)
        .keep_time(True)
        .include_vars(False)
    )
    return (
        grafana.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .refresh("5s")
        .time(since, "now")
        .timezone("browser")
        .link(others)
    )


def choice(
    name: str, label: str, query: str, *, several: bool, everything: str | None = ".+", first: str = ""
) -> grafana.QueryVariable:
    """
    A variable whose values Prometheus knows; with several, all of them to begin with.

    Args:
        everything: The regular expression that All stands for; None: the values that are offered.
        first: Of a single value: the one to begin with, where it is offered; else the first of them.
    """
    made = (
        grafana.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query(query)
        .multi(several)
        .include_all(several)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    if first:
        made = made.current(VariableOption(selected=True, text=first, value=first))
    return made.all_value(everything) if several and everything else made


def query(expr: str, legend: str = "{{job}}", *, exemplar: bool = False) -> prometheus.Dataquery:
    asked = prometheus.Dataquery().datasource(PROMETHEUS).expr(expr).ref_id("A")
    return asked.legend_format(legend).exemplar(exemplar)


def latest(expr: str, ref_id: str) -> prometheus.Dataquery:
    """What a table shows: the newest value of each series."""
    asked = prometheus.Dataquery().datasource(PROMETHEUS).expr(expr).ref_id(ref_id)
    return asked.instant().format(PromQueryFormat.TABLE)


def counted(counter: str, labels: str, window: str) -> str:
    """
    How much a counter has grown within the window, the first of its kind included.

    `increase` needs two samples: what rarely happens has a new series each time, which begins at 1, and would count as
    nothing. A counter that began anew counts as 0 for the window.
    """
    grown = f"clamp_min({counter} - ({counter} offset {window} or {counter} * 0), 0)"
    return f"sum by ({labels}) ({grown})" if labels else f"sum({grown})"


def or_quiet(expr: str, label: str, word: str = "none") -> str:
    """
    The expression, or while it has no series, one series of 0 whose `label` is `word`.

    What counts something that rarely happens has no series until it first does; a panel should say so, not be empty.
    """
    return f'{expr} or (label_replace(vector(0), "{label}", "{word}", "", "") unless on () ({expr}))'


def thresholds(steps: Sequence[Step]) -> grafana.ThresholdsConfig:
    absolute = [Threshold(value=value, color=color) for value, color in steps]
    return grafana.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(absolute)


def link(title: str, url: str) -> grafana.DashboardLink:
    """A data link or panel link: `${__field.labels.job}`, `${__from}` and our variables may stand in it."""
    return grafana.DashboardLink(title).type(DashboardLinkType.LINK).url(url)


TO_SERVICE = link(
    "${__field.labels.job} in depth", "/d/steersman-service?var-service=${__field.labels.job}&${__url_time_range}"
)

ROW_TO_SERVICE = link(  # of a table with a column "Service"
    "${__data.fields.Service} in depth",
    "/d/steersman-service?var-service=${__data.fields.Service}&${__url_time_range}",
)


def chart(
    title: str,
    description: str,
    unit: str,
    *queries: prometheus.Dataquery,
    width: int = HALF,
    links: Sequence[Builder[Any]] = (),
    minimum: float | None = 0,
) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    panel = timeseries.Panel().title(title).description(description).unit(unit).datasource(PROMETHEUS).legend(legend)
    panel = panel.span(width).height(CHART_HEIGHT)
    if minimum is not None:
        panel = panel.min(minimum)
    if links:
        panel = panel.data_links(list(links))
    for place, each in enumerate(queries):
        panel = panel.with_target(each.ref_id(chr(ord("A") + place)))
    return panel


def number(
    title: str, description: str, unit: str, expr: str, *steps: Step, width: int = QUARTER, legend: str = ""
) -> stat.Panel:
    """One large number, with its course behind it."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(PROMETHEUS)
        .span(width)
        .height(STAT_HEIGHT)
        .graph_mode(BigValueGraphMode.AREA)
        .thresholds(thresholds(steps or GREEN))
        .with_target(query(expr, legend=legend))
    )


def bars(
    title: str, description: str, unit: str, expr: str, legend: str, *steps: Step, width: int = HALF
) -> bargauge.Panel:
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(PROMETHEUS)
        .span(width)
        .height(CHART_HEIGHT)
        .min(0)
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .thresholds(thresholds(steps or BLUE))
        .with_target(query(expr, legend))
    )


def states(
    title: str, description: str, expr: str, legend: str, words: dict[str, tuple[str, str]], *, width: int = HALF
) -> statetimeline.Panel:
    """
    What was in which state when.

    Args:
        words: What each value means, and in which colour: `{"1": ("up", "green")}`.
    """
    mapping = ValueMap({value: ValueMappingResult(text=text_, color=color) for value, (text_, color) in words.items()})
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .unit("none")
        .datasource(PROMETHEUS)
        .span(width)
        .height(CHART_HEIGHT)
        .mappings([mapping])
        .show_value(VisibilityMode.NEVER)
        .merge_values(True)
        .with_target(query(expr, legend))
    )


def heat(title: str, description: str, unit: str, buckets: str, *, width: int = HALF) -> heatmap.Panel:
    """
    Args:
        buckets: Increases of a classic histogram's buckets, with `le` as their only label.
    """
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(PROMETHEUS)
        .span(width)
        .height(CHART_HEIGHT)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(AxisPlacement.LEFT))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(HeatmapCellLayout.AUTO))
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .with_target(query(buckets, "{{le}}").format(PromQueryFormat.HEATMAP))
    )


def rows(
    title: str,
    description: str,
    columns: dict[str, tuple[str, str]],
    *queries: prometheus.Dataquery,
    width: int = WIDTH,
    steps: dict[str, Sequence[Step]] | None = None,
    links: dict[str, Builder[Any]] | None = None,
) -> table.Panel:
    """
    A table of the newest values, a row for each set of labels.

    Args:
        columns: In their order: a label or `Value #A` → its heading and unit. Others are left out.
        steps, links: Thresholds and data links by heading.
    """
    order = {field: place for place, field in enumerate(columns)}
    panel = table.Panel().title(title).description(description).unit("none").datasource(PROMETHEUS)
    panel = panel.span(width).height(CHART_HEIGHT).show_header(True)
    for each in queries:
        panel = panel.with_target(each)
    panel = panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(
        DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True, "__name__": True},
                "indexByName": order,
                "renameByName": {field: heading for field, (heading, _) in columns.items()},
            },
        )
    )
    for heading, unit in columns.values():
        properties = [DynamicConfigValue("unit", unit)]
        if steps and heading in steps:
            properties.append(DynamicConfigValue("thresholds", thresholds(steps[heading]).build()))
            properties.append(DynamicConfigValue("color", {"mode": "thresholds"}))
            properties.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        if links and heading in links:
            properties.append(DynamicConfigValue("links", [links[heading].build()]))
        panel = panel.override_by_name(heading, properties)
    return panel


def note(title: str, markdown: str, *, width: int = WIDTH, height: int = STAT_HEIGHT) -> text.Panel:
    return text.Panel().title(title).content(markdown).span(width).height(height)


class JaegerQuery(variants.Dataquery, Builder[variants.Dataquery]):
    """A query of Grafana's Jaeger data source, which the SDK has no builder for."""

    def __init__(self, **fields: object) -> None:
        self._fields = {"datasource": JAEGER, "refId": "A", **fields}

    def build(self) -> variants.Dataquery:
        return self

    def to_json(self) -> dict[str, object]:
        return dict(self._fields)


def traces(title: str, description: str, *, width: int = WIDTH, **search: object) -> table.Panel:
    """Traces that a search finds. Source: Grafana's Jaeger data source, query type `search`."""
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(JAEGER)
        .show_header(True)
        .unit("none")
        .span(width)
        .height(CHART_HEIGHT)
        .with_target(JaegerQuery(queryType="search", **search))
    )


def dependencies(title: str, description: str, *, width: int = WIDTH, height: int = 11) -> nodegraph.Panel:
    """Who calls whom. Source: Grafana's Jaeger data source, query type `dependencyGraph`."""
    return (
        nodegraph.Panel()
        .title(title)
        .description(description)
        .datasource(JAEGER)
        .unit("none")
        .span(width)
        .height(height)
        .edges(nodegraph.EdgeOptions().main_stat_unit("short"))
        .with_target(JaegerQuery(queryType="dependencyGraph"))
    )
