from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from collector.alerts.config import load_config
from collector.alerts.inhibition import Inhibitor
from collector.alerts.muting import AlertStatus, Muting
from collector.alerts.routing import route_tree
from collector.alerts.silences import RETENTION_MS, Silence, SilenceNotFoundError, Silences
from collector.errors import LimitExceededError
from collector.model.alert import Alert
from collector.model.series import Matcher, MatchOp, labels_of

MakeAlert = Callable[..., Alert]
NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def config(**keys: Any) -> Any:
    return load_config({"route": {"receiver": "r"}, "receivers": [{"name": "r"}]} | keys)


def silence(value: str = "cart", **fields: Any) -> Silence:
    fields = {"starts_at_ms": NOW_MS, "ends_at_ms": NOW_MS + HOUR_MS} | fields
    matchers = (Matcher("service", MatchOp.EQUAL, value),)
    return Silence(id="", matchers=matchers, created_by="me", comment="", **fields)


def kept(silences: Silences, one: Silence) -> str:
    found = silences.put(one, NOW_MS)
    silences.keep(found)
    return found[-1].id


CRITICAL_OVER_WARNING = {
    "source_matchers": ["severity=critical"],
    "target_matchers": ["severity=warning"],
    "equal": ["service"],
}


def test_firing_source_inhibits_targets_with_equal_labels_until_it_resolves(make_alert: MakeAlert) -> None:
    source = make_alert(NOW_MS, NOW_MS + 1000, severity="critical")
    target, other = make_alert(NOW_MS, 0, severity="warning"), make_alert(NOW_MS, 0, severity="warning", service="x")
    inhibitor = Inhibitor(config(inhibit_rules=[CRITICAL_OVER_WARNING]).inhibit_rules)
    inhibitor.observe(source)
    assert inhibitor.inhibited_by(target.labels, NOW_MS) == [source.fingerprint]
    assert inhibitor.inhibited_by(other.labels, NOW_MS) == []
    assert inhibitor.inhibited_by(source.labels, NOW_MS) == []
    assert inhibitor.inhibited_by(target.labels, NOW_MS + 1000) == []
    inhibitor.forget(source.labels)
    assert inhibitor.inhibited_by(target.labels, NOW_MS) == []


def test_labels_that_both_lack_are_equal(make_alert: MakeAlert) -> None:
    rule = CRITICAL_OVER_WARNING | {"equal": ["nobody_has_it"]}
    inhibitor = Inhibitor(config(inhibit_rules=[rule]).inhibit_rules)
    inhibitor.observe(make_alert(NOW_MS, NOW_MS + 1, severity="critical"))
    assert inhibitor.inhibited_by(make_alert(0, 0, severity="warning", service="x").labels, NOW_MS)


def test_alerts_that_are_source_and_target_do_not_inhibit_one_another(make_alert: MakeAlert) -> None:
    rule = {"source_matchers": ["service=~.+"], "target_match_re": {"alertname": "Sl.*"}}
    inhibitor = Inhibitor(config(inhibit_rules=[rule]).inhibit_rules)
    first, second = make_alert(NOW_MS, NOW_MS + 1, instance="1"), make_alert(NOW_MS, NOW_MS + 1, instance="2")
    pure = make_alert(NOW_MS, NOW_MS + 1, alertname="Down")
    for one in (first, second):
        inhibitor.observe(one)
    assert inhibitor.inhibited_by(first.labels, NOW_MS) == []
    inhibitor.observe(pure)
    assert inhibitor.inhibited_by(first.labels, NOW_MS) == [pure.fingerprint]


def test_status_names_what_mutes_and_time_mutes_only_if_every_route_is_muted(make_alert: MakeAlert) -> None:
    routes = [
        {"matchers": ["service=cart"], "mute_time_intervals": ["always"], "continue": True},
        {"matchers": ["service=cart", "both=yes"], "active_time_intervals": ["never"]},
        {"matchers": ["both=no"]},
    ]
    intervals = [
        {"name": "always", "time_intervals": [{"years": ["2000:3000"]}]},
        {"name": "never", "time_intervals": [{"years": ["2000"]}]},
    ]
    one = config(route={"receiver": "r", "routes": routes}, time_intervals=intervals)
    tree, silences = route_tree(one.route), Silences()
    muting = Muting(one, silences, [])
    twice, once = make_alert(0, 0, both="yes").labels, make_alert(0, 0, both="no").labels
    assert muting.of(twice, tree.match(twice), NOW_MS).muted_by == ["always", "never"]
    assert muting.of(twice, tree.match(twice), NOW_MS).status is AlertStatus.SUPPRESSED
    assert muting.of(once, tree.match(once), NOW_MS).status is AlertStatus.ACTIVE
    assert [muting.is_muted(once, node, NOW_MS) for node in tree.match(once)] == [True, False]
    silence_id = kept(silences, silence())
    assert muting.of(once, tree.match(once), NOW_MS).silenced_by == [silence_id]


def test_silences_end_are_dropped_after_their_retention_and_never_before() -> None:
    silences = Silences()
    silence_id = kept(silences, silence())
    labels = labels_of({"service": "cart"})
    assert silences.silenced_by(labels, NOW_MS) == [silence_id]
    assert silences.silenced_by(labels, NOW_MS + HOUR_MS) == []
    assert silences.silenced_by(labels_of({"service": "x"}), NOW_MS) == []
    assert silences.collect(NOW_MS + HOUR_MS + RETENTION_MS - 1) == []
    assert silences.collect(NOW_MS + HOUR_MS + RETENTION_MS) == [silence_id]
    assert silences.get(silence_id) is None
    with pytest.raises(SilenceNotFoundError):
        silences.expire(silence_id, NOW_MS)


def test_silences_are_limited() -> None:
    silences = Silences(limit=1)
    kept(silences, silence())
    with pytest.raises(LimitExceededError, match="silence limit 1 reached"):
        silences.put(silence(), NOW_MS)


def test_expired_pending_silence_never_was() -> None:
    silences = Silences()
    silence_id = kept(silences, silence(starts_at_ms=NOW_MS + HOUR_MS, ends_at_ms=NOW_MS + 2 * HOUR_MS))
    (ended,) = silences.expire(silence_id, NOW_MS)
    assert (ended.starts_at_ms, ended.ends_at_ms) == (NOW_MS, NOW_MS)
