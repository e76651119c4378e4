"""Expressions as the collector writes them, in rules and formatted, and as Debian's Prometheus does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from alertmanager_server import require
from prometheus_process import PrometheusProcess, prometheus

from collector.api.prometheus_format import in_lines, one_line

pytestmark = pytest.mark.peer

SHOP = sorted((Path(__file__).parents[2] / "rules").glob("*.yml"))
# One a line.
EXPRESSIONS = r"""
sum(rate(x[90s]))by(job)
a + on(job) group_left(x, y) b * ignoring(z) group_right c
a atan2 b unless c and d or on() vector(0)
-(a + b) ^ 2 ^ 3 - -1 % 2
a > bool 1 != bool 2
{__name__=~"a.+", b='it"s', c!="back\\slash\n\t", d!~"x"}
rate(a[5m] @ 1609746000.5 offset -2m)
max_over_time((a + b)[1h:30s] offset 10m) + max_over_time(rate(a[5m])[1d:] @ end())
quantile without (x) (0.9, a) + topk by (job) (3, a) + count_values("v\"x", a)
histogram_quantile(0.99, sum by (le) (rate(h_bucket[5m])))
label_replace(a, "dst", "$1", "src", "(.*):.*")
a{le="1e10"} > 1e10
1e-9 + 1e15 + 0x1F + 123456789.123 + .5 + 1e6 + 100000
a + Inf + NaN
-Inf
rate(a[1y2w3d4h5m6s7ms])
sum(a) by ()
((a))
"string"
a{}
""".strip().splitlines()


@pytest.fixture
def expressions() -> list[str]:
    groups = [group for path in SHOP for group in yaml.safe_load(path.read_text())["groups"]]
    return EXPRESSIONS + [rule["expr"] for group in groups for rule in group["rules"]]


@pytest.fixture
def peer(tmp_path: Path, expressions: list[str]) -> Iterator[PrometheusProcess]:
    require("prometheus")
    rules = [{"record": f"x{number}", "expr": expr} for number, expr in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "g", "interval": "1h", "rules": rules}]}))
    with prometheus(tmp_path, {"rule_files": ["rules.yml"]}) as running:
        yield running


def test_rules_and_formatted_queries_are_written_as_prometheus_writes_them(
    peer: PrometheusProcess, expressions: list[str]
) -> None:
    (group,) = peer.client.get("/api/v1/rules").json()["data"]["groups"]
    assert [one_line(expr) for expr in expressions] == [rule["query"] for rule in group["rules"]]
    formatted = [peer.ask("/api/v1/format_query", {"query": expr})["data"] for expr in expressions]
    assert [in_lines(expr) for expr in expressions] == formatted
