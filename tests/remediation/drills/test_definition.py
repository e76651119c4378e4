"""What is a definition, and how clearly a wrong one is refused."""

from __future__ import annotations

import pytest
import yaml

from remediation.drills import definition
from remediation.drills.duration import seconds
from remediation.drills.errors import DefinitionError, UnknownDrillError


def problem(document) -> str:
    with pytest.raises(DefinitionError) as error:
        definition.parse(yaml.safe_dump(document), "surge.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "value"), [("500ms", 0.5), ("20s", 20), ("1m30s", 90), ("1h", 3600), ("0s", 0), ("2m", 120)]
)
def test_durations_are_prometheus_s(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "20", 20, "s", "20 s", "1s1m", "-5s", None, "1.5s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="expected a duration"):
        seconds(text)


def test_a_wrong_key_is_named_with_its_file(surge_document):
    surge_document["expect"][1]["replicas"]["above"] = 3
    assert "surge.yaml: expect.1.replicas.above: Extra inputs are not permitted, got 3" in problem(surge_document)


def test_every_problem_is_told(surge_document):
    del surge_document["title"]
    surge_document["timeout"] = 240
    told = problem(surge_document).splitlines()
    assert told == [
        "surge.yaml: title: Field required",
        "surge.yaml: timeout: expected a duration such as 500ms, 20s or 1m30s, got 240",
    ]


def test_an_unknown_event_is_refused_and_the_known_ones_named(surge_document):
    surge_document["expect"][0]["after"] = "recovered"
    assert "'alert' comes after 'recovered', which is no earlier event; those are ['injection', 'landed']" in problem(
        surge_document
    )


def test_what_is_expected_cannot_wait_for_the_end_that_waits_for_it(surge_document):
    surge_document["expect"][0]["after"] = "end_injection"
    assert "no earlier event" in problem(surge_document)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"promql": "x"}, "give exactly one of promql"),
        ({"stays": "5s"}, "give either within"),
        ({"within": None}, "give either within"),
        ({"aim": "30s"}, "may not be longer than within"),
        ({"below": 5}, "below goes with promql only, not with alert_firing"),
        ({"name": "landed"}, "['landed'] are given twice"),
        ({"name": "injection"}, "['injection'] are given twice"),
    ],
)
def test_a_contradiction_in_an_expectation_is_refused(surge_document, change, says):
    surge_document["expect"][0].update(change)
    surge_document["expect"][1:] = []
    assert says in problem(surge_document)


def test_a_grade_is_given_once(surge_document):
    surge_document["expect"][1]["grade"] = "detect"
    assert "each grade may be given once" in problem(surge_document)


@pytest.mark.parametrize(
    ("injection", "says"),
    [
        ({}, "give exactly one of load, fault"),
        ({"load": {"journey": "browse"}}, "give either times_capacity or rate"),
        ({"load": {"journey": "browse", "times_capacity": 3}}, "service and times_capacity belong together"),
        ({"load": {"journey": "fly", "rate": 3}}, "inject.0.load.journey"),
        ({"load": {"journey": "buy", "rate": 5000}}, "less than or equal to 500"),
        ({"fault": {"service": "cart", "kind": "latency"}}, "kind latency takes ['latency_ms'], got none"),
        ({"fault": {"service": "cart", "kind": "crash", "latency_ms": 5}}, "takes no field, got ['latency_ms']"),
        ({"fault": {"service": "../x", "kind": "crash"}}, "inject.0.fault.service"),
    ],
)
def test_an_injection_that_makes_no_sense_is_refused(surge_document, injection, says):
    surge_document["inject"] = [injection]
    assert says in problem(surge_document)


@pytest.mark.parametrize("text", ["- a list", "", "a: [", "!!python/object/apply:os.system ['true']", "\x00"])
def test_what_is_no_drill_at_all_is_refused(text):
    with pytest.raises(DefinitionError, match=r"x\.yaml: "):
        definition.parse(text, "x.yaml")


def test_a_drill_is_called_as_its_file(surge_document, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(surge_document))
    with pytest.raises(DefinitionError, match=r"name: is 'surge', but the file is called 'other\.yaml'"):
        definition.load(path)


def test_a_file_without_bound_is_refused(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_text("#" * (definition.MAX_DEFINITION_BYTES + 1))
    with pytest.raises(DefinitionError, match="larger than the limit"):
        definition.load(path)


def test_a_drill_is_found_by_name_or_path_and_else_the_others_are_named(surge_document, tmp_path):
    path = tmp_path / "surge.yaml"
    path.write_text(yaml.safe_dump(surge_document))
    assert definition.find("surge", tmp_path).name == "surge"
    assert definition.find(str(path), tmp_path / "nowhere").name == "surge"
    with pytest.raises(UnknownDrillError, match="no drill 'flood'; there are: surge"):
        definition.find("flood", tmp_path)
