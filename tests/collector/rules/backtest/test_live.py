"""A backtest over what a collector has recorded names the firing times that its live rules had."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from typer.testing import CliRunner

from collector.rules.cli import Surroundings, app

pytestmark = pytest.mark.timeout(180)


def answers(_path: Path):
    return lambda labels, _partial: "scale-out" if labels.get("alertname") == "Loaded" else None


def invoke(live: Any, *arguments: str, code: int = 0) -> str:
    around = Surroundings(url=live.url, policies=Path(), answers=answers)
    result = CliRunner().invoke(app, list(arguments), obj=around)
    assert result.exit_code == code, result.output
    return result.stdout


def backtest(live: Any, rules: Path, *arguments: str) -> dict[str, Any]:
    bounds = ["--from", str(live.from_ms / 1000), "--to", str(live.to_ms / 1000), "--format", "json"]
    document = json.loads(invoke(live, "backtest", str(rules), *bounds, *arguments))
    return {rule["name"]: rule for rule in document["rules"]}


def firings(alerts: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    keys = ("firedBefore", "firedAt", "endedAt")
    return sorted((json.dumps(one["labels"], sort_keys=True), *(str(one[key]) for key in keys)) for one in alerts)


def test_backtest_names_the_firing_times_of_the_live_run(live: Any) -> None:
    rules = backtest(live, live.rules)
    if live.missed:  # an evaluation that did not take place cannot be told from the data
        pytest.skip(f"the machine was too busy: {live.missed} evaluations were missed")
    for name in ("Loaded", "Hot", "Gone"):
        rule = rules[name]
        assert rule["summary"]["fired"] > 0, name
        assert rule["errors"] == []
        assert rule["today"]["source"] == "ALERTS"
        assert (rule["today"]["onlyHere"], rule["today"]["onlyToday"]) == (0, 0), rule
        assert rule["today"]["sameFirings"] == rule["summary"]["fired"]
        # Ends too, and of what began before the window.
        assert firings(rule["alerts"]) == firings(rule["today"]["alerts"])
    assert rules["Steady"]["summary"]["pending"] == 0


def test_backtest_names_the_remediations_that_would_have_run(live: Any) -> None:
    rules = backtest(live, live.rules)
    assert rules["Loaded"]["remediations"] == {"scale-out": rules["Loaded"]["summary"]["fired"]}
    assert rules["Hot"]["remediations"] == {}


def test_a_recording_that_is_not_stored_is_replayed(live: Any, tmp_path: Path) -> None:
    text = live.rules.read_text()
    renamed = tmp_path / "renamed.yml"
    renamed.write_text(text.replace("job:load:avg", "job:load:mean"))
    rules = backtest(live, renamed, "--rule", "Loaded")
    assert rules["Loaded"]["summary"]["fired"] > 0
    assert rules["Loaded"]["today"]["source"] == "ALERTS"
    # The recording is replayed over raw samples, of which some came after the live evaluation: an interval apart.
    assert abs(rules["Loaded"]["summary"]["fired"] - rules["Loaded"]["today"]["summary"]["fired"]) <= 1


def test_replayed_recordings_and_the_same_expression_in_one_come_to_the_same(live: Any, tmp_path: Path) -> None:
    text = live.rules.read_text()
    written_out, recorded = tmp_path / "written_out.yml", tmp_path / "recorded.yml"
    average = "avg by (job) (load)"
    # Both keep the recording in force: it tells which evaluations the live group missed.
    in_force = f"      - {{record: job:load:avg, expr: {average}}}\n"
    written_out.write_text(text.replace("expr: job:load:avg > 0.5", f"expr: {average} and {average} > 0.5"))
    recorded.write_text(
        text.replace("job:load:avg", "job:load:mean")
        .replace("expr: job:load:mean > 0.5", f"expr: {average} and job:load:mean > 0.5")
        .replace("    rules:\n", f"    rules:\n{in_force}", 1)
    )
    one, other = (backtest(live, path, "--rule", "Loaded")["Loaded"] for path in (written_out, recorded))
    assert firings(one["alerts"]) == firings(other["alerts"])
    assert one["summary"]["fired"] > 0


def test_a_stricter_rule_is_compared_with_the_one_in_force(live: Any, tmp_path: Path) -> None:
    strict = tmp_path / "strict.yml"
    strict.write_text(re.sub(r"load > 0\.7", "load > 0.95", live.rules.read_text()))
    rule = backtest(live, strict, "--rule", "Hot")["Hot"]
    assert rule["summary"]["firingSeconds"] < rule["today"]["summary"]["firingSeconds"]


def test_a_baseline_is_replayed_beside(live: Any, tmp_path: Path) -> None:
    strict = tmp_path / "strict.yml"
    strict.write_text(re.sub(r"load > 0\.7", "load > 0.95", live.rules.read_text()))
    rule = backtest(live, strict, "--rule", "Hot", "--baseline", str(live.rules))["Hot"]
    assert rule["today"]["source"] == f"replayed from {live.rules}"
    # The rule goes on between the two: seconds may differ, by about an evaluation.
    alone = backtest(live, live.rules, "--rule", "Hot")["Hot"]["summary"]
    assert rule["today"]["summary"] == pytest.approx(alone, abs=0.5)


def test_the_picture_shows_states_values_and_threshold(live: Any, tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    backtest(live, live.rules, "--picture", str(picture))
    root = ElementTree.fromstring(picture.read_text())  # noqa: S314  (our own)
    texts = [element.text for element in root.iter() if element.text]
    assert {"> 0.5", "> 0.7", "Hot", "Gone"} <= set(texts)
    assert any(text.startswith("pending ") and "firing " in text for text in texts)
    assert any(element.get("class") == "line" for element in root.iter())


def test_the_table_counts_what_the_json_lists(live: Any) -> None:
    bounds = ["--from", str(live.from_ms / 1000), "--to", str(live.to_ms / 1000)]
    shown = invoke(live, "backtest", str(live.rules), *bounds)
    loaded = backtest(live, live.rules)["Loaded"]["summary"]
    row = next(line for line in shown.splitlines() if line.startswith("Loaded"))
    assert row.split()[1:4] == [str(loaded[key]) for key in ("pending", "fired", "resolved")]
    assert "firings at the same evaluation" in shown


def test_windows_that_cannot_be_replayed_are_refused(live: Any) -> None:
    for arguments in (["--from", "yesterday"], ["--from", "1h", "--to", "2h"], ["--step", "0s"], ["--rule", "None"]):
        invoke(live, "backtest", str(live.rules), *arguments, code=1)


def test_lint_knows_what_series_there_are(live: Any, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(
        "groups:\n"
        "  - name: g\n"
        "    rules:\n"
        "      - {alert: A, expr: sum by (jbo) (load) > 1, for: 1m}\n"
        "      - {alert: B, expr: 'lod > 1', for: 1m}\n"
        "      - {alert: C, expr: 'load{instance=\"c\"} > 1', for: 1m}\n"
        "      - {alert: D, expr: 'load{host=\"c\"} > 1', for: 1m}\n"
        f"      - {{alert: E, expr: 'rate(load[{3 * live.interval_ms}ms]) > 1', for: 1m}}\n"
        f"      - {{alert: Loaded, expr: 'rate(load{{instance=~\"a|b\"}}[{4 * live.interval_ms}ms]) > 1', for: 1m}}\n"
    )
    checks = "unknown-metric,unknown-label,short-window"
    document = json.loads(invoke(live, "check", str(rules), "--format", "json", "--lint", checks, code=3))
    assert [(one["line"], one["rule"], one["check"]) for one in document["lint"]] == [
        (4, "A", "unknown-label"),
        (5, "B", "unknown-metric"),
        (6, "C", "unknown-label"),
        (7, "D", "unknown-label"),
        (8, "E", "short-window"),
    ]
    invoke(live, "check", str(live.rules), "--lint", f"{checks},missing-for")


def test_a_peer_that_does_not_answer_is_named(live: Any) -> None:
    result = CliRunner().invoke(app, ["backtest", str(live.rules), "--url", "http://127.0.0.1:1"], obj=Surroundings())
    assert result.exit_code == 1
    assert "http://127.0.0.1:1 does not answer" in result.output


def test_rule_group_metrics_are_those_of_prometheus(live: Any) -> None:
    text = httpx.get(f"{live.url}/metrics", trust_env=False).text
    for name in (
        "prometheus_rule_evaluations_total",
        "prometheus_rule_evaluation_failures_total",
        "prometheus_rule_evaluation_duration_seconds_count",
        "prometheus_rule_group_iterations_total",
        "prometheus_rule_group_iterations_missed_total",
        "prometheus_rule_group_last_duration_seconds",
        "prometheus_rule_group_last_evaluation_timestamp_seconds",
        "prometheus_rule_group_last_evaluation_samples",
        "prometheus_rule_group_rules",
        "prometheus_rule_group_interval_seconds",
        "prometheus_config_last_reload_successful 1.0",
    ):
        assert name in text


def test_rules_are_read_again_on_sighup_and_bad_ones_change_nothing(live: Any) -> None:
    """The files keep their time and size, so that nothing but the signal tells of the change."""
    before = live.rules.stat()
    text = live.rules.read_text()

    def signalled(changed: str) -> None:
        live.rules.write_text(changed)
        os.utime(live.rules, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.kill(live.pid, signal.SIGHUP)

    def metric(name: str) -> float:
        found = re.search(rf"^{name} (\S+)$", httpx.get(f"{live.url}/metrics", trust_env=False).text, re.MULTILINE)
        return float(found[1]) if found else math.nan

    def queries() -> str:
        return httpx.get(f"{live.url}/api/v1/rules", trust_env=False).text

    signalled(text.replace("load > 2", "load > 3"))
    eventually(lambda: "load \\u003e 3" in queries() or "load > 3" in queries())
    signalled(text.replace("load > 2", "load >> "))
    eventually(lambda: metric("prometheus_config_last_reload_successful") == 0)
    assert "load > 3" in queries().replace("\\u003e", ">")
    signalled(text)
    eventually(lambda: metric("prometheus_config_last_reload_successful") == 1)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "not within 20 s"
        time.sleep(0.05)
