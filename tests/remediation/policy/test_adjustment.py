import pytest
from pydantic import ValidationError

from remediation.policy.adjustment import StepAdjustment, adjusted
from remediation.policy.policy import Scale

# The example of Amazon EC2 Auto Scaling's guide, "Step adjustments for scale-out", with a threshold of 60.
AMAZON = (
    {"from": 0, "to": 10, "add_percent": 10},
    {"from": 10, "to": 20, "add_percent": 20},
    {"from": 20, "add_percent": 30},
)


def steps(*given):
    return tuple(StepAdjustment.model_validate(one) for one in given)


@pytest.mark.parametrize(
    ("breach", "current", "wanted"),
    [
        (-0.1, 10, 10),  # below the threshold nothing is wanted
        (0, 10, 11),  # the lower bound belongs to the step
        (9.99, 10, 11),
        (10, 10, 12),  # the upper does not
        (20, 10, 13),
        (1e9, 10, 13),  # the last is open
        (5, 3, 4),  # 0.3 of a replica is one
        (25, 25, 32),  # 7.5 is rounded down
    ],
)
def test_step_is_chosen_by_the_size_of_the_breach(breach, current, wanted):
    assert adjusted(steps(*AMAZON), breach, current) == wanted


def test_step_adds_a_number_or_names_one():
    given = steps({"to": 1, "add": 2}, {"from": 1, "exactly": 9})
    assert [adjusted(given, breach, 4) for breach in (0.5, 1.5)] == [6, 9]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([{"to": 1, "add": 1}, {"from": 2, "add": 2}], "a gap between to 1 and from 2"),
        ([{"to": 2, "add": 1}, {"from": 1, "add": 2}], "an overlap between to 2 and from 1"),
        ([{"add": 1}, {"from": 1, "add": 2}], "the step from 0 is open"),
        ([{"to": 1, "add": 1}], "nothing is said of a breach of 1 or more"),
        ([{"add": 1, "exactly": 3}], "one of add, add_percent, exactly; got add, exactly"),
        ([{}], "got none"),
        ([{"from": 3, "to": 2, "add": 1}], "to 2 is not above from 3"),
        ([{"from": -1, "add": 1}], "greater than or equal to 0"),
    ],
)
def test_steps_that_leave_a_question_open_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        Scale.model_validate({"value": "latency", "threshold": 0.5, "steps": given})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"value": "x", "threshold": 1},
        {"steps": [{"add": 1}], "value": "x"},
        {"replicas": "x", "value": "x", "threshold": 1, "steps": [{"add": 1}]},
    ],
)
def test_scale_says_in_one_way_how_many_are_wanted(given):
    with pytest.raises(ValidationError, match="either replicas, or all of value, threshold and steps"):
        Scale.model_validate(given)


def test_steps_survive_being_stored_with_their_run():
    scale = Scale.model_validate({"value": "x", "threshold": 1, "steps": [{"to": 1, "add": 1}, {"from": 1, "add": 2}]})
    assert Scale.model_validate_json(scale.model_dump_json()) == scale
