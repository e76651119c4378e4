from __future__ import annotations

from pathlib import Path

import pytest
from trace_campaign import RECORDS, Campaign

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]
KILLS = 5


def test_each_acknowledged_span_and_log_record_is_there_once_after_kills(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, seed=4)
    for _ in range(KILLS):
        campaign.kill_once(most_s=0.3)
    assert campaign.judge() == []
    assert len(campaign.traces.acknowledged) * RECORDS > 100
    assert len(campaign.logs.acknowledged) * RECORDS > 100
    assert campaign.traces.repeated + campaign.logs.repeated > 0  # or nothing was in flight when it was killed
