from __future__ import annotations

import numpy as np
import pytest

from collector.errors import BadRequestError, LimitExceededError
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


DROP_DEBUG = [{"source_labels": ["__name__"], "regex": "debug_.*", "action": "drop"}]


def test_metric_relabelling_drops_and_renames_and_the_report_counts_what_stays():
    rules = [
        *DROP_DEBUG,
        {"source_labels": ["__name__"], "regex": "(m)", "target_label": "__name__", "replacement": "${1}_x"},
    ]
    session = new_session(metric_relabel_configs=rules)
    for at in (1000, 2000, 3000):
        (batch,) = scraped(session, f"debug_a {at}\nm {at}\ndebug_b 2\n", at)
        assert named(batch)["m_x"] == at
        assert (named(batch)["scrape_samples_scraped"], named(batch)["scrape_samples_post_metric_relabeling"]) == (3, 1)
        assert "debug_a" not in named(batch)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"label_limit": 3}, "label_limit exceeded (metric: metric, number of labels: 4, limit: 3)"),
        (
            {"label_name_length_limit": 8},
            "label_name_length_limit exceeded (metric: metric, label name: long_label, length: 10, limit: 8)",
        ),
        (
            {"label_value_length_limit": 11},
            "label_value_length_limit exceeded (metric: metric, label name: long_label, length: 12, limit: 11)",
        ),
    ],
)
def test_a_limit_on_labels_is_named_with_metric_and_number(limit, message):
    session = new_session(**limit)
    with pytest.raises(LimitExceededError) as caught:
        session.parser.parse('metric{long_label="a long value"} 1\n', openmetrics=False)
    assert str(caught.value) == message
    assert session.parser.progress == (1, 0)


def test_names_of_the_new_form_are_taken_unless_the_job_says_legacy():
    text = '{"http.requests",route="/"} 1\n{"größe","l.abel"="x"} 2\n'
    (batch,) = scraped(new_session(), text, 1000)
    assert [dict(each)[METRIC_NAME] for each in batch.labels[:2]] == ["http.requests", "größe"]
    assert dict(batch.labels[1])["l.abel"] == "x"
    with pytest.raises(BadRequestError, match=r"invalid metric name 'http\.requests'"):
        scraped(new_session(metric_name_validation_scheme="legacy"), text, 1000)
    with pytest.raises(BadRequestError, match=r"invalid label name 'l\.abel'"):
        scraped(new_session(metric_name_validation_scheme="legacy"), 'm{"l.abel"="x"} 2\n', 1000)


def test_the_extra_report_tells_the_jobs_bounds_and_the_size_of_the_page():
    session = new_session(extra_scrape_metrics=True, sample_limit=9, scrape_timeout="7s")
    exposition = session.parser.parse("m 1\n", openmetrics=False)
    (batch,) = session.succeeded(exposition, timestamp_ms=1000, duration_s=0.1, body_bytes=4).batches
    extra = ("scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes")
    assert [named(batch)[name] for name in extra] == [7.0, 9.0, 4.0]
    batch = session.failed(ScrapeReport(False, 0.1, body_bytes=-1), timestamp_ms=2000)
    assert named(batch)["scrape_body_size_bytes"] == -1.0


def test_what_is_left_out_of_a_good_page_is_said(session):
    exposition = session.parser.parse("m 1\nm 2\nup 7\nlate 1 99999999999999\n", openmetrics=False)
    brought = session.succeeded(exposition, timestamp_ms=1000, duration_s=0.1)
    assert brought.left_out == (
        "left out: 2 samples of series that are on the page before, or are the report's "
        "and 1 samples more than 10 minutes ahead of the scrape"
    )
    assert named(brought.batches[0])["up"] == 1.0


def test_series_with_their_own_time_end_only_where_the_job_tracks_them():
    for tracks in (True, False):
        session = new_session(track_timestamps_staleness=tracks)
        scraped(session, 'm{n="1"} 1 900\nm{n="2"} 1 900\n', 1000)
        (batch, *_) = scraped(session, 'm{n="2"} 1 1900\n', 2000)
        assert named(batch).get("m1") == ("stale" if tracks else None)
        assert "m2" not in named(batch)


def test_another_configuration_goes_on_with_the_series_and_ends_those_that_it_leaves_out(session):
    scraped(session, "debug_a 1\nm 1\n", 1000)
    changed = new_session(metric_relabel_configs=DROP_DEBUG)
    changed.follow(session)
    (batch,) = scraped(changed, "debug_a 2\nm 2\n", 2000)
    assert (named(batch)["debug_a"], named(batch)["m"]) == ("stale", 2.0)
    assert named(batch)["scrape_series_added"] == 0.0
