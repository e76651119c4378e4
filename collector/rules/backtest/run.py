"""A backtest from files to results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from collector.errors import CollectorError, ConfigError
from collector.rules.backtest.replay import Replay, Replayed, Window
from collector.rules.backtest.result import Answer, Result, Today
from collector.rules.backtest.stored import stored_episodes
from collector.rules.backtest.timeline import Episode, within
from collector.rules.lint import static_labels
from collector.rules.remote import Remote
from collector.rules.rule import AlertingRule, RuleGroupSpec
from collector.rules.rulefile import load

# Of groups that name none, when the peer does not say (Prometheus's global.evaluation_interval, by its default).
DEFAULT_INTERVAL_MS = 60_000


def run(
    files: Sequence[Path],
    remote: Remote,
    window: Window,
    *,
    baseline: Path | None,
    answer: Answer | None,
    chosen: Callable[[AlertingRule], bool],
    notice: Callable[[str], None],
) -> tuple[list[Result], Replay]:
    """
    Replay the chosen rules of these files.

    Args:
        baseline: A file whose rules of the same name are replayed as today's; without it, today's are those that the
            peer has in force.
        notice: Told of what a reader should know.

    Returns:
        The results, and the replay, which can be asked for values of the same expressions.

    Raises:
        RuleFileError: a file is wrong.
        CollectorError: the peer cannot be asked, or something cannot be replayed.
    """
    groups = [group for path in files for group in load(path)]
    if window.to_ms <= window.from_ms:
        raise ConfigError(f"the window ends at {window.to_ms} ms, before it begins at {window.from_ms} ms")
    in_force = _in_force(remote, notice)
    replay = _replay(remote, window, in_force, notice)
    found = replay.run(groups, chosen)
    if not found:
        raise ConfigError(f"no alerting rule to replay in {', '.join(map(str, files))}")
    today: _Today = (
        _Baseline(_replay(remote, window, in_force, notice), load(baseline), baseline)
        if baseline
        else (_Live(remote, _replay(remote, window, in_force, notice), in_force))
    )
    return [_result(one, window, today.of(one), answer) for one in found], replay


def _replay(
    remote: Remote, window: Window, in_force: Sequence[Mapping[str, Any]], notice: Callable[[str], None]
) -> Replay:
    return Replay(remote, window, DEFAULT_INTERVAL_MS, in_force=in_force, external_url=remote.url, notice=notice)


def _in_force(remote: Remote, notice: Callable[[str], None]) -> list[dict[str, Any]]:
    try:
        return remote.rule_groups()
    except CollectorError as error:
        notice(f"the rules in force are not known: {error}")
        return []


def _result(replayed: Replayed, window: Window, today: Today | None, answer: Answer | None) -> Result:
    labels = {one.labels for one in replayed.episodes if one.fired_at_ms is not None}
    policies = {} if answer is None else {one: answer(dict(one)) for one in labels}
    return Result(replayed, window, today, policies)


class _Today:
    """What there is to compare with."""

    def of(self, replayed: Replayed) -> Today | None:
        raise NotImplementedError


class _Baseline(_Today):
    def __init__(self, replay: Replay, groups: Sequence[RuleGroupSpec], file: Path) -> None:
        self._source = f"replayed from {file}"
        self._found = replay.run(groups, lambda _rule: True)

    def of(self, replayed: Replayed) -> Today | None:
        same = [one for one in self._found if _counterpart(one.rule, replayed.rule)]
        episodes = tuple(episode for one in same for episode in one.episodes)
        return Today(self._source, episodes) if same else None


class _Live(_Today):
    """The rules in force: by what they stored, else replayed."""

    def __init__(self, remote: Remote, replay: Replay, in_force: Sequence[Mapping[str, Any]]) -> None:
        self._remote = remote
        self._replay = replay
        self._in_force = in_force
        self._stored: dict[str, list[Episode]] = {}

    def of(self, replayed: Replayed) -> Today | None:
        rule, window = replayed.rule, self._replay.window
        if rule.name not in self._stored:
            self._stored[rule.name] = stored_episodes(
                self._remote,
                rule.name,
                # An alert that fires at the start began before; how long before does not matter to what is counted.
                from_ms=window.from_ms - rule.for_ms - rule.keep_firing_for_ms - replayed.interval_ms,
                to_ms=window.to_ms,
                interval_ms=replayed.interval_ms,
                offset_ms=replayed.group.query_offset_ms,
            )
        episodes = [one for one in self._stored[rule.name] if _may_own(rule, one)]
        if self._stored[rule.name]:
            return Today("ALERTS", tuple(within(episodes, window.from_ms, window.to_ms)))
        groups = [group for one in self._in_force if (group := _spec(one, rule, replayed.group)) is not None]
        if not groups:
            return None
        found = self._replay.run(groups, lambda _rule: True)
        return Today("the rule in force, replayed", tuple(episode for one in found for episode in one.episodes))


def _may_own(rule: AlertingRule, episode: Episode) -> bool:
    labels = dict(episode.labels)
    return all(labels.get(name, "") == value for name, value in static_labels(rule).items())


def _counterpart(other: AlertingRule, rule: AlertingRule) -> bool:
    """Whether two rules raise the same alert: the name, and the fixed labels that both have."""
    ours, theirs = static_labels(rule), static_labels(other)
    return all(theirs[name] == value for name, value in ours.items() if name in theirs)


def _spec(group: Mapping[str, Any], rule: AlertingRule, like: RuleGroupSpec) -> RuleGroupSpec | None:
    """The rules of a group in force that raise the same alert, as a group that can be replayed."""
    rules = []
    for one in group.get("rules", ()):
        if one.get("type") != "alerting" or one.get("name") != rule.name:
            continue
        labels = tuple(sorted((str(name), str(value)) for name, value in dict(one.get("labels") or {}).items()))
        other = AlertingRule(
            name=rule.name,
            expr=str(one.get("query", "")),
            labels=labels,
            annotations=(),
            line=0,
            for_ms=round(float(one.get("duration", 0)) * 1000),
            keep_firing_for_ms=round(float(one.get("keepFiringFor", 0)) * 1000),
        )
        if _counterpart(other, rule):
            rules.append(other)
    if not rules:
        return None
    return RuleGroupSpec(
        name=str(group.get("name", like.name)),
        file=str(group.get("file", like.file)),
        rules=tuple(rules),
        interval_ms=round(float(group.get("interval", 0)) * 1000) or like.interval_ms,
        limit=int(group.get("limit", 0)),
        query_offset_ms=like.query_offset_ms,
    )
