"""What a scrape job wants of native histograms."""

from __future__ import annotations

from typing import NamedTuple


class NativeOptions(NamedTuple):
    wanted: bool  # otherwise their classic buckets are taken, if only +Inf
    classic_too: bool  # of histograms that have both
    bucket_limit: int = 0  # above it resolution is given up, 0 is none
    min_bucket_factor: float = 0.0  # by which each bucket is to be wider than the one before, at least
