"""What /metrics tells of the collector's parts: under Prometheus's names where it has one."""

from __future__ import annotations

from collections.abc import Callable

from collector.pipeline.intake import Intake
from collector.pipeline.redaction import Redactor
from collector.pipeline.self_metrics import SelfMetrics
from collector.receivers.remote_write import WriteStats
from collector.receivers.scrape import ScrapeManager
from collector.storage.metrics.store import MetricStore
from collector.storage.traces.database import TelemetryDatabase


def count_intake(counts: SelfMetrics, intake: Intake, redactor: Redactor | None, database: TelemetryDatabase) -> None:
    for name, text, read in (
        ("steersman_collector_dropped_attributes", "Attributes over the limit of one span.", lambda: intake.dropped),
        ("steersman_collector_truncated_values", "Attribute values that were cut.", lambda: intake.truncated),
        ("steersman_collector_redacted_values", "Masked.", lambda: redactor.redacted if redactor else 0),
        ("steersman_collector_repeated_requests", "Of spans and logs, sent again.", lambda: database.repeated),
    ):
        counts.counter(name, text, read)


def count_remote_write(counts: SelfMetrics, stats: WriteStats) -> None:
    for name, text, read in (
        ("prometheus_api_remote_write_samples", "Samples received by remote write.", lambda: stats.samples),
        ("prometheus_api_remote_write_invalid_labels_samples", "Of series that are wrong.", lambda: stats.invalid),
        ("steersman_remote_write_requests", "Requests of remote write.", lambda: stats.requests),
        ("steersman_remote_write_refused_samples", "Refused by the metric store.", lambda: stats.refused),
    ):
        counts.counter(name, text, read)


def count_metrics(counts: SelfMetrics, store: MetricStore, scrapes: ScrapeManager) -> None:
    gauges: dict[str, tuple[str, Callable[[], float]]] = {
        "prometheus_tsdb_head_series": ("Series in the metric store.", lambda: store.series_count),
        "steersman_metrics_head_bytes": ("Memory of the samples that are not sealed yet.", lambda: store.head_bytes),
        "prometheus_tsdb_storage_blocks_bytes": ("Sealed samples on disk.", lambda: store.segment_bytes),
    }
    counters: dict[str, tuple[str, Callable[[], float]]] = {
        "prometheus_tsdb_head_samples_appended": ("Samples stored.", lambda: store.stats.samples),
        "prometheus_tsdb_out_of_order_samples": (
            "Samples refused: older than the newest of their series by more than the window.",
            lambda: store.stats.out_of_order,
        ),
        "prometheus_tsdb_too_old_samples": ("Samples refused: older than the retention.", lambda: store.stats.too_old),
        "prometheus_tsdb_out_of_bound_samples": (
            "Samples refused: too far in the future.",
            lambda: store.stats.too_far_ahead,
        ),
        "steersman_metrics_duplicate_samples": (
            "Samples refused: another value was there at that timestamp.",
            lambda: store.stats.duplicates,
        ),
        "steersman_metrics_repeated_samples": ("Samples that were there already.", lambda: store.stats.repeated),
        "steersman_metrics_refused_series": ("New series over a limit.", lambda: store.stats.refused_series),
        "prometheus_tsdb_compactions": ("Segment files merged.", lambda: store.stats.merged_segments),
        "steersman_metrics_commits": ("Group commits of the metric store.", lambda: store.stats.commits),
        "steersman_metrics_corrupt_chunks": ("Chunks left out of answers.", lambda: store.corrupt_chunks),
        "steersman_scrapes": ("Scrapes done.", lambda: scrapes.stats.scrapes),
        "steersman_scrapes_failed": ("Scrapes that failed.", lambda: scrapes.stats.failed),
        "steersman_scrapes_over_limits": ("Scrapes that failed over a limit.", lambda: scrapes.stats.over_limits),
        "steersman_scrapes_left_out": ("Good pages with samples left out.", lambda: scrapes.stats.left_out),
        "steersman_scrape_store_errors": ("Scrapes that the store refused.", lambda: scrapes.stats.store_errors),
    }
    for name, (text, read) in gauges.items():
        counts.gauge(name, text, read)
    for name, (text, read) in counters.items():
        counts.counter(name, text, read)
