"""`steersman rules check`: what is wrong with rule files, and how it is shown."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from collector.errors import CollectorError, ConfigError
from collector.model.duration import parse_duration_ms
from collector.rules.lint import CHECKS, Finding, PartialAnswer, lint
from collector.rules.remote import Remote
from collector.rules.remote_data import RemoteData
from collector.rules.rule import RuleGroupSpec
from collector.rules.rulefile import Problem, RuleFileError, load

LINT_TIMEOUT_S = 30.0  # a query of lint takes milliseconds; a peer that hangs must not hang the check of a file


@dataclass(slots=True)
class Report:
    files: Sequence[Path]
    rules: dict[str, int] = field(default_factory=dict)  # of each file without errors
    errors: list[Problem] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(
    files: Sequence[Path],
    *,
    url: str,
    token: str = "",
    scrape_interval: str = "",
    answer: PartialAnswer | None,
    wanted: str = "all",
) -> Report:
    """
    Args:
        url: Whose series rules are held against; empty: they are not.
        scrape_interval: Instead of what the samples tell.
        wanted: `all`, `none`, or names of checks with commas between them.

    Raises:
        ConfigError: an option is wrong.
    """
    checks = _chosen(wanted)
    interval_ms = _interval_ms(scrape_interval)
    report = Report(files)
    groups: list[RuleGroupSpec] = []
    for path in files:
        try:
            found = load(path)
        except RuleFileError as error:
            report.errors += error.problems
            continue
        groups += found
        report.rules[str(path)] = sum(len(group.rules) for group in found)
    if checks:
        _lint(report, groups, checks, answer, (url, token, interval_ms))
    return report


def _chosen(text: str) -> frozenset[str]:
    if text in ("all", "none"):
        return frozenset(CHECKS) if text == "all" else frozenset()
    names = frozenset(name.strip() for name in text.split(","))
    if unknown := sorted(names - frozenset(CHECKS)):
        raise ConfigError(f"unknown lint check {', '.join(unknown)}; there are {', '.join(CHECKS)}, all and none")
    return names


def _interval_ms(text: str) -> int | None:
    try:
        return parse_duration_ms(text) if text else None
    except ValueError as error:
        raise ConfigError(f"--scrape-interval: {error}") from error


def _lint(
    report: Report,
    groups: Sequence[RuleGroupSpec],
    checks: frozenset[str],
    answer: PartialAnswer | None,
    peer: tuple[str, str, int | None],
) -> None:
    url, token, interval_ms = peer
    whole = None if answer is None else lambda labels: answer(labels, True)
    if answer is None:
        report.notes.append("no policies are known: whether one answers an alert was not checked")
    if url:
        with Remote(url, token=token, timeout_s=LINT_TIMEOUT_S) as remote:
            data = RemoteData(remote, now_ms=time.time_ns() // 1_000_000, interval_ms=interval_ms)
            try:
                report.findings = lint(groups, data=data, answer=whole, checks=checks)
            except CollectorError as error:
                report.notes.append(f"series were not checked: {error}")
            else:
                report.notes.append(f"series are those of {url}")
                return
    else:
        report.notes.append("no collector runs and no --url is given: metrics, labels and windows were not checked")
    report.findings = lint(groups, data=None, answer=whole, checks=checks)


def show(report: Report, *, as_json: bool) -> None:
    """To stdout; errors and findings to stderr, as promtool has it, unless it is JSON."""
    if as_json:
        print(json.dumps(document(report), indent=1))
        return
    for path in report.files:
        print("Checking", path)
        errors = [problem for problem in report.errors if problem.file == str(path)]
        findings = [finding for finding in report.findings if finding.file == str(path)]
        if str(path) in report.rules:
            print(f"  SUCCESS: {report.rules[str(path)]} rules found", flush=True)
        if errors:
            print("  FAILED:", file=sys.stderr)
        for line in (*errors, *findings):
            print(f"  {line}" if isinstance(line, Finding) else line, file=sys.stderr, flush=True)
        print(flush=True)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)


def document(report: Report) -> dict[str, object]:
    """What `steersman rules check --format json` prints."""
    errors = [
        _entry(one.file, one.line, group=one.group, rule=one.rule_name, check="error", message=one.message)
        for one in report.errors
    ]
    findings = [
        _entry(one.file, one.line, group=one.group, rule=one.rule, check=one.check, message=one.message)
        for one in report.findings
    ]
    verdict = "error" if errors else "lint" if findings else "ok"
    return {"verdict": verdict, "rules": report.rules, "errors": errors, "lint": findings, "notes": report.notes}


def _entry(file: str, line: int, **rest: str) -> dict[str, object]:
    return {"file": file, "line": line, **rest}
