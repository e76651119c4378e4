"""What instant queries take from the last samples is what a look into every sample gives."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.model.series import ABSENT, METRIC_NAME, STALE, SampleTable, labels_of
from collector.query.promql.engine import Engine
from collector.storage.metrics.latest import LatestSamples
from collector.storage.metrics.store import MetricStore

START_MS = 1_700_000_000_000
SERIES = tuple(labels_of({METRIC_NAME: "up", "instance": str(number)}) for number in range(3))

values = st.sampled_from([ABSENT, STALE, 1.0, 2.0, float("nan")])
times = st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True).map(sorted)


@st.composite
def tables(draw):
    at = draw(times)
    rows = [[draw(values) for _ in at] for _ in SERIES]
    return SampleTable("t", SERIES, START_MS + np.array(at, np.int64) * 1000, np.array(rows, np.float64))


class InFull:
    """The same store without its short cut."""

    def __init__(self, store: MetricStore) -> None:
        self.select, self.select_histograms = store.select, store.select_histograms


def answer(source, at_ms: int) -> dict:
    found = Engine(source, lookback_ms=5_000).instant("up", at_ms=at_ms)
    return dict(zip(found.labels, np.asarray(found.values).view(np.uint64).tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(appended=st.lists(tables(), min_size=1, max_size=6), sealed_after=st.integers(0, 6), reopened=st.booleans())
def test_the_short_cut_answers_as_a_look_into_every_sample_does(tmp_path_factory, appended, sealed_after, reopened):
    directory = tmp_path_factory.mktemp("store")
    store = MetricStore.open(directory, retention_s=86_400, clock=lambda: START_MS + 41_000)
    try:
        for number, table in enumerate(appended):
            store.submit([table]).result(timeout=10)
            if number == sealed_after:
                store.seal_up_to(START_MS + 20_000)
                if reopened:
                    store.close()
                    store = MetricStore.open(directory, retention_s=86_400, clock=lambda: START_MS + 41_000)
        for second in range(48):
            at_ms = START_MS + second * 1000
            assert answer(store, at_ms) == answer(InFull(store), at_ms)
    finally:
        store.close()


def test_the_sample_before_the_last_answers_a_query_that_is_a_little_late():
    latest = LatestSamples()
    ids = np.array([0, 1], np.uint32)
    latest.saw(ids, np.array([1000, 2000]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    found, _, inside, doubtful = latest.at(ids, 0, 1500)
    assert found.tolist() == [1.0, 3.0]
    assert inside.all()
    assert not doubtful.any()
    assert latest.at(ids, 0, 500)[3].all()  # what was before is not remembered


def test_a_series_with_native_histograms_is_always_looked_up():
    latest = LatestSamples()
    ids = np.array([7], np.uint32)
    latest.never(ids)
    latest.saw(ids, np.array([1000]), np.array([[1.0]]))
    assert latest.at(ids, 0, 2000)[3].all()
