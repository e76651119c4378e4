"""
Every sample that the metric store acknowledged survives `kill -9`. Fifty kills: `python bench/soak/metric_kills.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from metric_campaign import Campaign

pytestmark = pytest.mark.chaos

KILLS = 5


def test_every_acknowledged_sample_survives_kills_at_random_moments(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, seed=7)
    for _ in range(KILLS):
        assert campaign.kill_once(most_s=0.4) > 0
    assert campaign.judge() == []
    assert campaign.samples > KILLS * 100
    assert campaign.histograms > 0
