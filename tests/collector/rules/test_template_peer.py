"""promtool expands the same templates; it must come to the same texts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from collector.rules.template import Samples, Template, TemplateContext, sample

TEMPLATES = json.loads((Path(__file__).parent / "testdata" / "templates.json").read_text())
PEERS = {"catalog": 0.5, "cart": 2.0}


def query(expr: str) -> Samples:
    if expr == "nothing":
        return []
    return [sample({"__name__": "peers", "job": job}, value) for job, value in PEERS.items()]


@pytest.fixture
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None and os.environ.get("CI") == "true":
        pytest.fail("promtool is not on PATH, and CI must not do without it")
    if path is None:
        pytest.skip("promtool is not on PATH (Debian: apt-get install prometheus)")
    return path


@pytest.mark.peer
@pytest.mark.parametrize("value", [0.75, 1234.5678, -0.000123, 1e18, 5.0, 100000.0, 1234567.125])
def test_promtool_expands_every_template_to_the_same_text(promtool: str, tmp_path: Path, value: float) -> None:
    annotations = {f"a{number:02d}": template for number, template in enumerate(TEMPLATES)}
    labels = {"__name__": "latency", "job": "catalog"}
    context = TemplateContext("http://collector:9090/prom", query)
    expected = {
        name: Template.lenient(template, "Peer").expand(labels, value, context)
        for name, template in annotations.items()
    }
    rules = {"groups": [{"name": "g", "rules": [{"alert": "Peer", "expr": "latency", "annotations": annotations}]}]}
    series = [{"series": 'latency{job="catalog"}', "values": f"{value!r} {value!r}"}]
    series += [{"series": f'peers{{job="{job}"}}', "values": f"{peer} {peer}"} for job, peer in PEERS.items()]
    alert = {"exp_labels": {"job": "catalog"}, "exp_annotations": expected}
    test = {
        "interval": "1m",
        "external_url": "http://collector:9090/prom",
        "input_series": series,
        "alert_rule_test": [{"eval_time": "1m", "alertname": "Peer", "exp_alerts": [alert]}],
    }
    (tmp_path / "rules.yml").write_text(json.dumps(rules))  # JSON is YAML
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "tests": [test]}))
    done = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / "test.yml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
