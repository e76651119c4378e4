"""The figures as Markdown. Ratios are the collector's by Prometheus's, as they are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
OURS, THEIRS = "collector", "Prometheus"
MIB = 2**20
ABOUT = 0.05


def markdown(results: Json) -> str:
    lines = ["# Metrics beside Prometheus and VictoriaMetrics", "", *_head(results)]
    for part, section in (("ingest", _ingest), ("queries", _queries), ("rules", _rules), ("growth", _growth)):
        if part in results:
            lines += ["", *section(results[part])]
    problems = failures(results)
    if problems:
        lines += ["", "## What failed", *(f"- {problem}" for problem in problems)]
    return "\n".join(lines)


def failures(results: Json) -> list[str]:
    """What makes a run no evidence: samples that are missing, answers that differ without a reason."""
    found = [
        f"{name} has {one['kept_samples']:,} of {one['sent_samples']:,} samples"
        for name, one in results.get("ingest", {}).items()
        if one["kept_samples"] != one["sent_samples"]
    ]
    for query in results.get("queries", {}).get("queries", []):
        for name, timing in query["timings"].items():
            excused = name == "VictoriaMetrics" and query["victoria"] and not timing["error"]
            if timing["verdict"] not in {"equal", "reference"} and not excused:
                found.append(f"“{query['title']}” at {name}: {timing['verdict']}")
    return found + _rule_failures(results.get("rules", {}))


def _rule_failures(found: Json) -> list[str]:
    """Alerts are counted at another moment of the samples at each server, so they are about as many only."""
    if not {OURS, THEIRS} <= found.keys():
        return []
    ours, theirs = found[OURS], found[THEIRS]
    problems = []
    if ours["recorded"] != theirs["recorded"]:
        problems.append(f"rules: {ours['recorded']:,} series recorded, {theirs['recorded']:,} by {THEIRS}")
    counts = [sum(one["alerts"].values()) for one in (ours, theirs)]
    if abs(counts[0] - counts[1]) > ABOUT * max(counts):
        problems.append(f"rules: {counts[0]:,} alerts, {counts[1]:,} at {THEIRS}")
    return problems


def _head(results: Json) -> list[str]:
    machine, data = results["machine"], results["data"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    parts = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in results.get("took_s", {}).items())
    size = (
        f"{data['series']:,} series, {data['hours']:g} hours at {data['interval_s']:g} s: {data['samples']:,} samples"
    )
    system = f"{machine['cpu']}, {machine['memory_gib']} GiB, {machine['system']}"
    lines = [f"{system}, load before {machine['load_before']:.1f}.", f"{versions}. {size}. Parts took {parts}."]
    if results["absent"]:
        lines.append(f"Not installed, so not measured: {', '.join(results['absent'])}.")
    return lines


def _ratio(one: float, other: float) -> str:
    return "–" if not other or math.isnan(one) or math.isnan(other) else f"{one / other:.2f}"


def _table(names: list[str], rows: list[tuple[str, Callable[[Json], float], str, float]], found: Json) -> list[str]:
    """Rows: title, what of a server's figures, format, divisor. The last column is ours by Prometheus's."""
    lines = ["| | " + " | ".join(names) + " | ratio |", "| --- |" + " ---: |" * (len(names) + 1)]
    for title, value, form, unit in rows:
        cells = [format(value(found[name]) / unit, form) for name in names]
        ratio = _ratio(value(found[OURS]), value(found[THEIRS])) if {OURS, THEIRS} <= found.keys() else "–"
        lines.append(f"| {title} | " + " | ".join(cells) + f" | {ratio} |")
    return lines


def _key(key: str) -> Callable[[Json], float]:
    return lambda one: float(one[key])


_INGEST: list[tuple[str, Callable[[Json], float], str, float]] = [
    ("samples/s", _key("samples_per_s"), ",.0f", 1),
    ("CPU, s, until the last answer", _key("cpu_s"), ".1f", 1),
    ("CPU, s, until at rest", _key("cpu_settled_s"), ".1f", 1),
    ("memory at most, MiB", _key("peak_bytes"), ",.0f", MIB),
    ("memory at rest, MiB", _key("steady_bytes"), ",.0f", MIB),
    ("… without mapped files, MiB", _key("steady_anonymous_bytes"), ",.0f", MIB),
    ("disk at rest, bytes a sample", _key("disk_bytes_per_sample"), ".2f", 1),
    ("… of it log, bytes a sample", _key("disk_log_bytes_per_sample"), ".2f", 1),
    ("bodies sent again", _key("retries"), ".0f", 1),
    ("samples kept, of 1", lambda one: float(one["kept_samples"] / one["sent_samples"]), ".6f", 1),
]


def _ingest(found: Json) -> list[str]:
    return ["## Ingest by remote write", "", *_table(list(found), _INGEST, found)]


def _queries(found: Json) -> list[str]:
    names = list(found["servers"])
    lines = [f"## Queries: median and p95 of {found['runs']} runs, in ms", ""]
    lines += ["| series | query | over, at most | answer | " + " | ".join(names) + " | ratio | answers |"]
    lines += ["| ---: | --- | --- | ---: |" + " ---: |" * (len(names) + 1) + " --- |"]
    for query in found["queries"]:
        timings = query["timings"]
        over = f"{query['hours']:g} h / {query['step_s']} s" if query["hours"] else "instant"
        cells = [
            f"{one['median_ms']:,.1f}, {one['p95_ms']:,.1f}" if one["runs_ms"] else "–" for one in timings.values()
        ]
        size = max(one["answer_bytes"] for one in timings.values())
        verdicts = [
            f"{name}: {one['verdict']}" for name, one in timings.items() if one["verdict"] not in {"equal", "reference"}
        ]
        lines.append(
            f"| {query['tier']} | {query['title']} | {over} | {size / 1000:,.1f} kB | "
            + " | ".join(cells)
            + f" | {_query_ratio(query)} | {'; '.join(verdicts) or 'equal'} |"
        )
    lines += ["", *_summary(found["queries"]), "", *_table(names, _SERVERS, found["servers"])]
    reasons = sorted({query["victoria"] for query in found["queries"] if query["victoria"]})
    if "VictoriaMetrics" in names and reasons:
        lines += ["", "Why VictoriaMetrics answers otherwise:", *(f"- {reason}." for reason in reasons)]
    return lines


_SERVERS: list[tuple[str, Callable[[Json], float], str, float]] = [
    ("from start to ready, s", _key("restart_s"), ".2f", 1),
    ("CPU of all queries, s", _key("cpu_s"), ".1f", 1),
    ("memory at most, MiB", _key("peak_bytes"), ",.0f", MIB),
    ("memory afterwards, MiB", _key("rss_bytes"), ",.0f", MIB),
]


def _query_ratio(query: Json) -> str:
    timings = query["timings"]
    if not {OURS, THEIRS} <= timings.keys():
        return "–"
    return _ratio(timings[OURS]["median_ms"], timings[THEIRS]["median_ms"])


def _ratios(queries: list[Json], against: str) -> list[float]:
    return [
        query["timings"][OURS]["median_ms"] / query["timings"][against]["median_ms"]
        for query in queries
        if {OURS, against} <= query["timings"].keys()
        and query["timings"][OURS]["runs_ms"]
        and query["timings"][against]["runs_ms"]
    ]


def _summary(queries: list[Json]) -> list[str]:
    lines = []
    for title, chosen in (
        ("range queries", [query for query in queries if query["hours"]]),
        ("instant queries", [query for query in queries if not query["hours"]]),
    ):
        for against in (THEIRS, "VictoriaMetrics"):
            ratios = _ratios(chosen, against)
            if ratios:
                third, slower = sum(ratio <= 1 / 3 for ratio in ratios), sum(ratio > 1 for ratio in ratios)
                mean = statistics.geometric_mean(ratios)
                lines.append(
                    f"- {len(ratios)} {title}, collector by {against}: median {statistics.median(ratios):.2f}, "
                    f"geometric mean {mean:.2f}, best {min(ratios):.2f}, worst {max(ratios):.2f}; "
                    f"{third} at a third or less, {slower} slower"
                )
    return lines


_RULES: list[tuple[str, Callable[[Json], float], str, float]] = [
    ("evaluating all groups, s, median of the rounds", _key("median_s"), ".3f", 1),
    ("CPU of a round, s", _key("cpu_s"), ".2f", 1),
    ("memory, MiB", _key("rss_bytes"), ",.0f", MIB),
    ("series recorded", _key("recorded"), ",.0f", 1),
    ("alerts pending", lambda one: float(one["alerts"]["pending"]), ",.0f", 1),
    ("alerts firing", lambda one: float(one["alerts"]["firing"]), ",.0f", 1),
]


def _rules(found: Json) -> list[str]:
    count = next(iter(found.values()))["rules"]
    return [f"## {count:,} rules", "", *_table(list(found), _RULES, found)]


def _growth(found: Json) -> list[str]:
    lines = ["## Growth: collector by Prometheus, at each number of series", ""]
    sizes = list(found)
    lines += ["| | " + " | ".join(f"{int(size):,}" for size in sizes) + " |", "| --- |" + " ---: |" * len(sizes)]
    for title, value, _, _ in _INGEST[:6]:
        cells = [_of(found[size]["ingest"], value) for size in sizes]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    for number, query in enumerate(found[sizes[0]]["queries"]["queries"]):
        cells = [_growth_cell(found[size]["queries"]["queries"][number]) for size in sizes]
        lines.append(f"| {query['title']} | " + " | ".join(cells) + " |")
    return lines


def _of(servers: Json, value: Callable[[Json], float]) -> str:
    return _ratio(value(servers[OURS]), value(servers[THEIRS])) if {OURS, THEIRS} <= servers.keys() else "–"


def _growth_cell(query: Json) -> str:
    timings = query["timings"]
    ratio = _query_ratio(query)
    return ratio if ratio == "–" else f"{ratio} ({timings[OURS]['median_ms']:,.1f} ms)"
