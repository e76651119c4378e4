"""What the campaign takes away to show that no drill is a formality can still be taken away. The campaign itself is
bench/soak/drills_without.py, which needs half an hour and a quiet machine."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest

from remediation.policy.book import load_policies
from steersman.runtime.paths import shipped

BENCH = Path(__file__).parents[2] / "bench"
DRILLS = sorted(path.stem for path in shipped("drills").glob("*.yaml"))


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.syspath_prepend(str(BENCH / "soak"))


def removals():
    from stacks.removals import REMOVALS

    return {each.drill: each for each in REMOVALS}


def test_something_can_be_taken_from_every_drill_that_ships():
    assert sorted(removals()) == DRILLS


@pytest.mark.parametrize("drill", DRILLS)
def test_what_is_taken_away_leaves_something_that_can_be_run(drill, tmp_path):
    shutil.copytree(shipped("policies"), tmp_path / "policies")
    for edit in removals()[drill].edits:
        whole = (BENCH.parent / edit.path).read_text()
        changed = edit.applied(whole)
        assert changed != whole
        if edit.path.endswith(".py"):
            ast.parse(changed)
        else:
            file = tmp_path / edit.path
            file.write_text(edit.applied(file.read_text()))
    assert load_policies(tmp_path / "policies").policies


@pytest.mark.parametrize("drill", DRILLS)
def test_the_reason_that_is_looked_for_names_something_of_the_drill(drill):
    definition = (shipped("drills") / f"{drill}.yaml").read_text()
    names = re.findall(r"- name: (.+)", definition)
    reasons = [f'expectation "{name}" failed' for name in names] + [f'stop condition "{name}"' for name in names]
    for alternative in re.split(r"\|(?![^(]*\))", removals()[drill].says):
        assert any(re.search(alternative, reason) for reason in reasons), alternative


def test_the_copy_has_the_change_and_the_checkout_has_not(tmp_path):
    from stacks.checkout import PARTS, copy_into

    (edit,) = removals()["latency-surge"].edits
    copy = copy_into(tmp_path / "copy", (edit,))
    assert sorted(path.name for path in copy.iterdir()) == sorted(PARTS)
    assert edit.new in (copy / edit.path).read_text()
    assert edit.old in (BENCH.parent / edit.path).read_text()


def test_a_file_that_has_moved_on_is_noticed():
    from stacks.checkout import Edit

    with pytest.raises(ValueError, match=r"shop.yaml: 'no such text' stands in it 0 times, not once"):
        Edit("policies/shop.yaml", "no such text", "").applied("policies: []")


def test_a_drill_that_passes_or_fails_for_another_reason_has_not_noticed():
    from drills_without import noticed, table

    removal = removals()["replica-crash"]
    right = {"verdict": "FAIL", "reasons": ['expectation "another replica serves" failed: wanted …']}
    other = {"verdict": "FAIL", "reasons": ['the steady state does not hold: "customers browse"']}
    passed = {"verdict": "PASS", "reasons": []}
    assert [noticed(removal, each) for each in (right, other, passed)] == [True, False, False]
    assert table([removal], [other]).count("FAIL (not as it should)") == 1
