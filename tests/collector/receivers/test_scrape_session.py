from __future__ import annotations

import numpy as np
import pytest

from collector.model.series import METRIC_NAME, SampleBatch, is_stale, labels_of
from collector.receivers.scrape_config import ScrapeConfig
from collector.receivers.scrape_session import ScrapeReport, ScrapeSession
from collector.receivers.scrape_target import target_of

REPORT = {
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
}


def new_session(**options: object) -> ScrapeSession:
    config = ScrapeConfig.model_validate({"job_name": "shop", **options})
    return ScrapeSession(config, target_of(config, "127.0.0.1:1", {"instance": "shop-1"}))


@pytest.fixture
def session() -> ScrapeSession:
    return new_session()


def scraped(session: ScrapeSession, text: str, at_ms: int, *, openmetrics: bool = False) -> list[SampleBatch]:
    exposition = session.parser.parse(text, openmetrics=openmetrics)
    return session.succeeded(exposition, timestamp_ms=at_ms, duration_s=0.25).batches


def named(batch: SampleBatch) -> dict[str, float | str]:
    """Values by metric name (and label n); "stale" for a marker."""
    found = {}
    for labels, value, stale in zip(batch.labels, batch.values.tolist(), is_stale(batch.values).tolist(), strict=True):
        each = dict(labels)
        found[each[METRIC_NAME] + each.get("n", "")] = "stale" if stale else value
    assert len(found) == len(batch.labels)
    return found


def test_a_scrape_brings_its_samples_and_the_report(session):
    (batch,) = scraped(session, 'm{n="1"} 5\n', 1000)
    assert named(batch) == {
        "m1": 5.0,
        "up": 1.0,
        "scrape_duration_seconds": 0.25,
        "scrape_samples_scraped": 1.0,
        "scrape_samples_post_metric_relabeling": 1.0,
        "scrape_series_added": 1.0,
    }
    assert batch.target == "scrape|shop|shop-1"
    assert labels_of({METRIC_NAME: "m", "n": "1", "job": "shop", "instance": "shop-1"}) in batch.labels


def test_a_series_that_vanishes_is_marked_stale_once(session):
    scraped(session, 'm{n="1"} 5\nm{n="2"} 6\n', 1000)
    (batch,) = scraped(session, 'm{n="2"} 7\nm{n="3"} 8\n', 2000)
    assert {name: value for name, value in named(batch).items() if name not in REPORT} == {
        "m1": "stale",
        "m2": 7.0,
        "m3": 8.0,
    }
    assert named(batch)["scrape_series_added"] == 1.0
    (batch,) = scraped(session, 'm{n="2"} 7\nm{n="3"} 8\n', 3000)
    assert "m1" not in named(batch)
    assert named(batch)["scrape_series_added"] == 0.0


def test_a_steady_target_sends_the_same_labels_object(session):
    scraped(session, "m 1\n", 1000)
    assert scraped(session, "m 2\n", 2000)[0].labels is scraped(session, "m 3\n", 3000)[0].labels


def test_a_failed_scrape_ends_every_series_and_up_is_0(session):
    scraped(session, 'm{n="1"} 5\n', 1000)
    batch = session.failed(ScrapeReport(False, 1.0), timestamp_ms=2000)
    assert named(batch)["m1"] == "stale"
    assert named(batch)["up"] == 0.0
    assert "m1" not in named(session.failed(ScrapeReport(False, 1.0), timestamp_ms=3000))
    assert named(scraped(session, 'm{n="1"} 6\n', 4000)[0])["m1"] == 6.0


def test_a_target_that_is_gone_ends_its_report_too(session):
    assert session.ended(timestamp_ms=500) is None
    scraped(session, 'm{n="1"} 5\n', 1000)
    batch = session.ended(timestamp_ms=900)
    assert batch.timestamp_ms == 1001  # behind the last scrape, whatever the clock says
    assert set(named(batch)) == {"m1", *REPORT}
    assert is_stale(batch.values).all()
    assert session.ended(timestamp_ms=2000) is None


def test_labels_of_the_target_win_and_the_others_are_exported(session):
    (batch,) = scraped(session, 'm{job="other",exported_job="x"} 1\n', 1000)
    assert dict(batch.labels[0]) == {
        METRIC_NAME: "m",
        "job": "shop",
        "instance": "shop-1",
        "exported_job": "x",
        "exported_exported_job": "other",
    }


def test_honor_labels_lets_the_targets_own_labels_stand():
    (batch,) = scraped(new_session(honor_labels=True), 'm{job="other"} 1\n', 1000)
    assert dict(batch.labels[0]) == {METRIC_NAME: "m", "job": "other", "instance": "shop-1"}


def test_the_first_of_two_equal_series_in_a_scrape_counts(session):
    for at in (1000, 2000):
        (batch,) = scraped(session, 'm{n="1"} 1\nm{n="1"} 2\n', at)
        assert named(batch)["m1"] == 1.0
        assert named(batch)["scrape_samples_scraped"] == 2.0
        assert named(batch)["scrape_samples_post_metric_relabeling"] == 2.0


def test_samples_with_their_own_time_keep_it_and_are_not_marked_stale(session):
    first, timed = scraped(session, 'a 1\nm{n="1"} 5 777\n', 1000)
    assert (timed.timestamp_ms, named(timed)) == (777, {"m1": 5.0})
    assert named(first)["a"] == 1.0
    (batch,) = scraped(session, "a 1\n", 2000)
    assert "m1" not in named(batch)
    assert scraped(session, 'm{n="1"} 5 99999999999\n', 3000)[1:] == []  # far ahead: dropped


def test_honor_timestamps_off_takes_the_time_of_the_scrape():
    (batch,) = scraped(new_session(honor_timestamps=False), 'm{n="1"} 5 777\n', 1000)
    assert named(batch)["m1"] == 5.0


def test_an_exemplar_without_a_time_gets_that_of_the_scrape(session):
    (batch,) = scraped(session, 'h_bucket{le="1"} 5 # {trace_id="a"} 0.5\n# EOF\n', 1000, openmetrics=True)
    ((place, exemplar),) = batch.exemplars
    assert exemplar.timestamp_ms == 1000
    assert dict(batch.labels[place])["le"] == "1.0"


def test_a_nan_that_means_absent_here_is_a_plain_nan(session):
    exposition = session.parser.parse("m 1\n", openmetrics=False)
    exposition.values = np.array([0x7FF0000000000003], np.uint64).view(np.float64).tolist()
    (batch,) = session.succeeded(exposition, timestamp_ms=1000, duration_s=0.1).batches
    assert np.isnan(batch.values[0])
    assert batch.values.view(np.uint64)[0] != 0x7FF0000000000003
