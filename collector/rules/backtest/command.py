"""`steersman rules backtest`: options to results, results to table, JSON and picture."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from collector.errors import ConfigError
from collector.model.duration import parse_duration_ms
from collector.rules.backtest.picture import draw
from collector.rules.backtest.replay import Window
from collector.rules.backtest.report import show
from collector.rules.backtest.result import as_json as document
from collector.rules.backtest.run import run
from collector.rules.lint import PartialAnswer
from collector.rules.moment import unix_ms
from collector.rules.remote import Remote

# What was evaluated just now may not be stored yet, and would seem to be over.
SETTLE_MS = 2000


def backtest(
    files: Sequence[Path],
    *,
    url: str,
    token: str,
    from_: str,
    to: str,
    step: str,
    names: Sequence[str],
    baseline: Path | None,
    answer: PartialAnswer | None,
    picture: Path | None,
    as_json: bool,
    console: Console,
) -> None:
    """
    Raises:
        CollectorError: an option is wrong, or it could not be done.
        OSError: the picture could not be written.
    """
    if not url:
        raise ConfigError("no stack is running: say with --url whose data to replay")
    now_ms = time.time_ns() // 1_000_000
    window = Window(unix_ms(from_, now_ms), min(unix_ms(to, now_ms), now_ms - SETTLE_MS), _step_ms(step))
    notices: list[str] = []
    with Remote(url, token=token) as remote:
        results, replay = run(
            files,
            remote,
            window,
            baseline=baseline,
            answer=None if answer is None else lambda labels: answer(labels, False),
            chosen=lambda rule: not names or rule.name in names,
            notice=notices.append,
        )
        if picture:
            picture.write_text(draw(results, replay), encoding="utf-8")
    if as_json:
        print(json.dumps(document(results, url=url, window=window, notices=notices), indent=1, allow_nan=False))
        return
    for notice in dict.fromkeys(notices):
        print(f"note: {notice}", file=sys.stderr)
    show(console, results)


def _step_ms(text: str) -> int | None:
    try:
        step_ms = parse_duration_ms(text) if text else None
    except ValueError as error:
        raise ConfigError(f"--step: {error}") from error
    if step_ms == 0:
        raise ConfigError("--step must be greater than 0")
    return step_ms
