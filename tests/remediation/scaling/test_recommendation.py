"""As the replica calculator of Kubernetes's Horizontal Pod Autoscaler decides; its own cases where they apply."""

import math

import pytest

from remediation.policy.autoscaler import Tracking
from remediation.scaling.recommendation import Told, by_average, by_replica

TRACKING = Tracking(utilisation="x", target=0.5, warm_up="10s")


def told(*values, cold=0, ready=None, desired=None):
    """Replicas by their utilisation, the last `cold` of them not warm yet."""
    names = [f"r{number}" for number in range(len(values))]
    warm = frozenset(names[: len(values) - cold])
    ready = len(values) if ready is None else ready
    return Told(dict(zip(names, values, strict=True)), warm, ready, ready if desired is None else desired)


@pytest.mark.parametrize(
    ("seen", "wanted", "steady"),
    [
        (told(0.5, 0.5, 0.5), 3, True),
        (told(1.0, 1.0, 1.0), 6, True),
        (told(0.3, 0.5, 0.7, 0.9), 5, True),  # the mean is 0.6: 4.8
        (told(0.1, 0.1, 0.1, 0.1, 0.1), 1, True),
        (told(0.0, 0.0), 1, True),  # never none
        (told(0.549), 1, True),  # within the tolerance of a tenth
        (told(0.551), 2, True),
        (told(0.451, 0.451), 2, True),
        # Within is within, also where rounding makes of exactly three replicas a little more.
        (told(0.75, 0.75), 3, True),
        (told(0.1 + 0.2, 0.3, 0.3, 0.3, 0.3), 3, True),
        # Starting ones count as idle where more is wanted: what is coming is counted on.
        (told(1.0, 1.0, ready=2, desired=4), 4, True),
        (told(1.0, 1.0, 0.0, cold=1), 4, True),  # 2.0 * 2 / 3 is 1.33, of three
        (told(0.6, 0.6, 0.0, cold=1), 3, True),  # 0.8: less than what is coming, so no more
        # Silent ones count as idle where more is wanted …
        (told(1.0, 1.0, ready=3), 4, True),
        (told(0.8, 0.8, ready=4), 4, True),
        # … and as loaded to the target where less is.
        (told(0.2, 0.2, ready=3), 2, True),  # 0.9 / 3 is 0.3 of 0.5: 1.8 of three
        (told(0.2, 0.2, ready=2, desired=3), 2, True),
        (told(0.01, ready=1, desired=5), 5, True),  # four start: 4.02
        # Of those that linger the number does not count.
        (told(0.9, 0.9, 0.9, ready=2), 4, False),
    ],
)
def test_replicas_wanted_by_their_utilisations(seen, wanted, steady):
    found = by_replica(TRACKING, seen)
    assert (found.replicas, found.steady) == (wanted, steady), found.reason


@pytest.mark.parametrize(
    "seen", [told(ready=2), told(0.9, 0.9, cold=2), told(math.nan, 0.4), told(math.inf), told(-0.1, 0.9)]
)
def test_what_nobody_knows_asks_for_nothing(seen):
    assert by_replica(TRACKING, seen).replicas is None


@pytest.mark.parametrize(
    ("value", "ready", "desired", "settled", "wanted", "steady"),
    [
        (0.5, 3, 3, True, 3, True),
        (1.0, 3, 3, True, 6, True),
        (0.2, 4, 4, True, 2, True),
        (0.549, 4, 4, True, 4, True),
        (0.8, 2, 5, True, 5, True),  # 4 would do, and 5 are coming
        (1.5, 2, 5, True, 6, True),
        (0.2, 4, 4, False, 2, False),
        (0.2, 3, 4, True, 3, True),  # the one that starts counts as loaded
        (0.5, 0, 4, True, None, None),
        (math.nan, 3, 3, True, None, None),
    ],
)
def test_replicas_wanted_by_an_average(value, ready, desired, settled, wanted, steady):
    found = by_average(TRACKING, value, ready=ready, desired=desired, settled=settled)
    assert found.replicas == wanted
    assert wanted is None or found.steady is steady
