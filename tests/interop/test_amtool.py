"""Debian's amtool against our Alertmanager API, and its verdicts on configuration files against ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from alertmanager_server import TOKEN, Alertmanager, ours, require

from collector.alerts.config import ConfigFile
from collector.errors import ConfigError

pytestmark = pytest.mark.peer
Amtool = Callable[..., Awaitable[str]]

CONFIG: dict[str, Any] = {
    "global": {"resolve_timeout": "1m", "smtp_auth_password": "s3cret"},
    "route": {
        "receiver": "default",
        "group_by": ["alertname"],
        "routes": [
            {
                "receiver": "shop",
                "matchers": ["team=shop"],
                "routes": [{"receiver": "pager", "match": {"page": "yes"}}],
            },
            {
                "receiver": "nights",
                "matchers": ['team=~"a|b"'],
                "active_time_intervals": ["never"],
                "resolve_wait": "0s",
            },
        ],
    },
    "receivers": [
        {"name": "default"},
        {"name": "shop", "webhook_configs": [{"url": "http://user:s3cret@127.0.0.1:9/hook?key=s3cret"}]},
        {"name": "pager", "slack_configs": [{"api_url": "https://hooks.slack.com/services/s3cret"}]},
        {"name": "nights", "apprise_configs": [{"url": "json://s3cret"}]},
    ],
    "time_intervals": [{"name": "never", "time_intervals": [{"years": ["2000"]}]}],
    "inhibit_rules": [
        {"source_matchers": ["severity=critical"], "target_matchers": ["severity=warning"], "equal": ["job"]}
    ],
}  # fmt: skip


@pytest.fixture
async def alertmanager(tmp_path: Path) -> AsyncIterator[Alertmanager]:
    require("amtool")
    async with ours(tmp_path, CONFIG) as running:
        yield running


@pytest.fixture
def amtool(alertmanager: Alertmanager, tmp_path: Path) -> Amtool:
    (tmp_path / "token").write_text(TOKEN)
    login = {"authorization": {"credentials_file": str(tmp_path / "token")}}
    (tmp_path / "http.yml").write_text(yaml.safe_dump(login))

    async def run(*words: str, fails: bool = False, login: bool = True) -> str:
        flags = [f"--alertmanager.url={alertmanager.url}"]
        flags += [f"--http.config.file={tmp_path / 'http.yml'}"] if login else []
        return await called(*words, *flags, fails=fails)

    return run


async def called(*words: str, fails: bool = False) -> str:
    process = await asyncio.create_subprocess_exec(
        "amtool", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        output, errors = await process.communicate()
    assert (process.returncode != 0) is fails, (output, errors)
    return (errors if fails else output).decode()


async def test_alerts_are_added_and_queried(amtool: Amtool) -> None:
    await amtool("alert", "add", "alertname=Slow", "team=shop", "--annotation=summary=slow", "--generator-url=http://g")
    await amtool("alert", "add", "Other", "job=x")
    assert "Slow" in await amtool("alert", "query")
    (found,) = json.loads(await amtool("alert", "query", "-o", "json", "team=shop"))
    assert (found["labels"], found["annotations"]) == ({"alertname": "Slow", "team": "shop"}, {"summary": "slow"})
    assert found["receivers"] == [{"name": "shop"}]
    assert found["status"]["state"] == "active"
    assert json.loads(await amtool("alert", "query", "-o", "json", "--receiver=pager")) == []
    extended = await amtool("alert", "query", "-o", "extended", "alertname=~O.*")
    assert "Other" in extended
    assert "Slow" not in extended


async def test_silences_are_made_asked_for_prolonged_and_expired(amtool: Amtool) -> None:
    await amtool("alert", "add", "alertname=Slow", "team=shop")
    silence_id = (
        await amtool("silence", "add", "alertname=Slow", 'team=~"sh.*"', "--comment=known", "--author=me", "-d", "1h")
    ).strip()
    (silence,) = json.loads(await amtool("silence", "query", "-o", "json"))
    assert (silence["id"], silence["comment"], silence["createdBy"]) == (silence_id, "known", "me")
    assert silence["status"]["state"] == "active"
    assert json.loads(await amtool("alert", "query", "-o", "json")) == []  # amtool hides what is silenced
    (hidden,) = json.loads(await amtool("alert", "query", "--silenced", "-o", "json"))
    assert hidden["status"] == {
        "inhibitedBy": [],
        "silencedBy": [silence_id],
        "state": "suppressed",
    } | {key: value for key, value in hidden["status"].items() if key == "mutedBy"}
    assert await amtool("silence", "query", "-q", "alertname=Other") == ""
    updated = json.loads(await amtool("silence", "update", "-d", "2h", "--comment=longer", "-o", "json", silence_id))
    assert [one["id"] for one in updated] == [silence_id]
    (silence,) = json.loads(await amtool("silence", "query", "-o", "json"))
    assert silence["comment"] == "longer"
    await amtool("silence", "expire", silence_id)
    assert json.loads(await amtool("silence", "query", "-o", "json")) == []
    (silence,) = json.loads(await amtool("silence", "query", "--expired", "-o", "json"))
    assert silence["status"]["state"] == "expired"
    assert len(json.loads(await amtool("alert", "query", "-o", "json"))) == 1
    assert "already expired" in await amtool("silence", "expire", silence_id, fails=True)


async def test_silences_are_imported(amtool: Amtool, tmp_path: Path) -> None:
    await amtool("silence", "add", "a=b", "--comment=c", "--author=me")
    (tmp_path / "silences.json").write_text(await amtool("silence", "query", "-o", "json"))
    await amtool("silence", "import", str(tmp_path / "silences.json"))
    assert len(json.loads(await amtool("silence", "query", "-o", "json"))) >= 1


async def test_inhibited_alert_is_shown_as_such(amtool: Amtool) -> None:
    await amtool("alert", "add", "alertname=Down", "severity=critical", "job=x")
    await amtool("alert", "add", "alertname=Slow", "severity=warning", "job=x")
    await amtool("alert", "add", "alertname=Slow", "severity=warning", "job=y")
    (hidden,) = json.loads(await amtool("alert", "query", "--inhibited", "-o", "json"))
    (source,) = json.loads(await amtool("alert", "query", "alertname=Down", "-o", "json"))
    assert hidden["status"]["inhibitedBy"] == [source["fingerprint"]]
    assert len(json.loads(await amtool("alert", "query", "-o", "json"))) == 2


async def test_configuration_is_shown_and_routes_are_tested_without_secrets(amtool: Amtool) -> None:
    shown = await amtool("config", "show")
    assert "s3cret" not in shown
    assert "http://127.0.0.1:9/hook" in shown
    assert (await amtool("config", "routes", "test", "team=shop", "page=yes")).strip() == "pager"
    assert (await amtool("config", "routes", "test", "team=b")).strip() == "nights"
    assert (await amtool("config", "routes", "test", "team=c")).strip() == "default"
    assert "shop" in await amtool("config", "routes", "show")
    assert "disabled" in (await amtool("cluster", "show")).lower()


async def test_without_a_token_one_may_look_and_not_touch(amtool: Amtool) -> None:
    assert await amtool("alert", "query", login=False)
    for words in (("alert", "add", "alertname=a"), ("silence", "add", "a=b", "--comment=c", "--author=me")):
        assert "401" in await amtool(*words, login=False, fails=True)
    assert "Slow" not in await amtool("alert", "query")


WEBHOOK = "receivers: [{name: a, webhook_configs: [{url: 'http://x/'}]}]"
FILES = {
    "least": "route: {receiver: a}\nreceivers: [{name: a}]",
    "all of a route": """
route:
  receiver: a
  group_by: [alertname, job]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  routes:
    - {matchers: ['a="b"', 'c!~"d|e"', "f=~g"], continue: true, group_by: ['...']}
    - {match: {a: b}, match_re: {c: "d.*"}, receiver: b, mute_time_intervals: [nights], active_time_intervals: [days]}
receivers: [{name: a}, {name: b}]
mute_time_intervals:
  - {name: nights, time_intervals: [{times: [{start_time: "00:00", end_time: "06:30"}], location: Europe/Berlin}]}
time_intervals:
  - name: days
    time_intervals:
      - weekdays: ["monday:friday", saturday]
        days_of_month: ["1:15", "-3:-1"]
        months: ["january:march", "12"]
        years: ["2026:2030"]
""",
    "inhibition": """
route: {receiver: a}
receivers: [{name: a}]
inhibit_rules:
  - {source_matchers: [severity="critical"], target_matchers: [severity="warning"], equal: [alertname, job]}
  - {source_match: {a: b}, target_match_re: {a: "c|d"}}
""",
    "webhook": """
route: {receiver: a}
receivers:
  - name: a
    webhook_configs:
      - url: https://user:pass@example.com/hook
        send_resolved: false
        max_alerts: 5
        http_config:
          basic_auth: {username: u, password: p}
          tls_config: {insecure_skip_verify: true, server_name: s}
          proxy_url: http://proxy:3128
          follow_redirects: false
          enable_http2: false
""",
    "global": """
global:
  resolve_timeout: 10m
  smtp_smarthost: localhost:25
  smtp_from: am@example.com
  slack_api_url: https://hooks.slack.com/services/T0/B0/X0
  opsgenie_api_key: k
  http_config: {authorization: {credentials: c}}
route: {receiver: a}
receivers:
  - name: a
    email_configs: [{to: "x@example.com", headers: {subject: hello}}]
    slack_configs: [{channel: "#ops", title: '{{ template "slack.default.title" . }}', send_resolved: true}]
    opsgenie_configs: [{priority: P1}]
    pagerduty_configs: [{routing_key: k, severity: critical}]
    pushover_configs: [{user_key: u, token: t}]
    telegram_configs: [{bot_token: t, chat_id: -100, api_url: "https://api.telegram.org"}]
    victorops_configs: [{api_key: k, routing_key: r}]
    sns_configs: [{topic_arn: "arn:aws:sns:eu-west-1:1:t", sigv4: {region: eu-west-1, access_key: a, secret_key: s}}]
    discord_configs: [{webhook_url: "https://discord.com/api/webhooks/1/x"}]
    wechat_configs: [{api_secret: s, corp_id: c, agent_id: "1"}]
    webex_configs: [{room_id: r, http_config: {authorization: {credentials: t}}}]
templates: ["/nowhere/*.tmpl"]
""",
    "no route": "receivers: [{name: a}]",
    "empty": "",
    "not yaml": "route: [",
    "no receivers": "route: {receiver: a}",
    "undefined receiver": f"route: {{receiver: b}}\n{WEBHOOK}",
    "undefined receiver below": f"route: {{receiver: a, routes: [{{receiver: b}}]}}\n{WEBHOOK}",
    "root with matchers": f"route: {{receiver: a, matchers: ['a=b']}}\n{WEBHOOK}",
    "root with match": f"route: {{receiver: a, match: {{a: b}}}}\n{WEBHOOK}",
    "root continues": f"route: {{receiver: a, continue: true}}\n{WEBHOOK}",
    "root muted": f"route: {{receiver: a, mute_time_intervals: [x]}}\n{WEBHOOK}",
    "root active": f"route: {{receiver: a, active_time_intervals: [x]}}\n{WEBHOOK}",
    "unknown interval": f"route: {{receiver: a, routes: [{{mute_time_intervals: [x]}}]}}\n{WEBHOOK}",
    "unknown key": f"route: {{receiver: a, grup_by: [x]}}\n{WEBHOOK}",
    "key twice": f"route: {{receiver: a, receiver: a}}\n{WEBHOOK}",
    "receiver twice": "route: {receiver: a}\nreceivers: [{name: a}, {name: a}]",
    "receiver without a name": "route: {receiver: a}\nreceivers: [{name: a}, {}]",
    "interval twice": f"{WEBHOOK}\nroute: {{receiver: a}}\ntime_intervals: [{{name: x}}, {{name: x}}]",
    "interval without a name": f"{WEBHOOK}\nroute: {{receiver: a}}\ntime_intervals: [{{time_intervals: []}}]",
    "group_by all and one": f"route: {{receiver: a, group_by: ['...', x]}}\n{WEBHOOK}",
    "group_by twice": f"route: {{receiver: a, group_by: [x, x]}}\n{WEBHOOK}",
    "zero group_interval": f"route: {{receiver: a, group_interval: 0s}}\n{WEBHOOK}",
    "zero repeat_interval": f"route: {{receiver: a, repeat_interval: 0s}}\n{WEBHOOK}",
    "zero group_wait": f"route: {{receiver: a, group_wait: 0s}}\n{WEBHOOK}",
    "bad duration": f"route: {{receiver: a, group_wait: soon}}\n{WEBHOOK}",
    "negative duration": f"route: {{receiver: a, group_wait: -1s}}\n{WEBHOOK}",
    "bad matcher": f"route: {{receiver: a, routes: [{{matchers: ['a']}}]}}\n{WEBHOOK}",
    "bad expression": f"route: {{receiver: a, routes: [{{matchers: ['a=~\"(\"']}}]}}\n{WEBHOOK}",
    "bad match_re": f"route: {{receiver: a, routes: [{{match_re: {{a: '('}}}}]}}\n{WEBHOOK}",
    "matchers no list": f"route: {{receiver: a, routes: [{{matchers: 'a=b'}}]}}\n{WEBHOOK}",
    "match with a bad name": f"route: {{receiver: a, routes: [{{match: {{a-b: c}}}}]}}\n{WEBHOOK}",
    "webhook without a URL": "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{}]}]",
    "webhook with a bad URL": "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'ftp://x'}]}]",
    "webhook without a host": "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'http://'}]}]",
    "two logins": """
route: {receiver: a}
receivers:
  - name: a
    webhook_configs: [{url: "http://x", http_config: {bearer_token: a, basic_auth: {username: u}}}]
""",
    "basic as authorization": """
route: {receiver: a}
receivers: [{name: a, webhook_configs: [{url: "http://x", http_config: {authorization: {type: Basic}}}]}]
""",
    "two passwords": """
route: {receiver: a}
receivers:
  - name: a
    webhook_configs: [{url: "http://x", http_config: {basic_auth: {username: u, password: p, password_file: f}}}]
""",
    "email without smarthost": "route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: x}]}]",
    "email without to": """
global: {smtp_smarthost: "localhost:25", smtp_from: x}
route: {receiver: a}
receivers: [{name: a, email_configs: [{}]}]
""",
    "smarthost without port": "global: {smtp_smarthost: localhost}\nroute: {receiver: a}\nreceivers: [{name: a}]",
    "slack without URL": "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{channel: x}]}]",
    "pagerduty without key": "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{}]}]",
    "opsgenie without key": "route: {receiver: a}\nreceivers: [{name: a, opsgenie_configs: [{}]}]",
    "pushover without token": "route: {receiver: a}\nreceivers: [{name: a, pushover_configs: [{user_key: u}]}]",
    "victorops without routing key": "route: {receiver: a}\nreceivers: [{name: a, victorops_configs: [{api_key: u}]}]",
    "texts of one's own": """
route: {receiver: a}
receivers:
  - name: a
    slack_configs: [{api_url: "https://hooks.slack.com/services/a/b/c", text: "{{ range .Alerts }}x{{ end }}"}]
    webhook_configs: [{url: "http://x/"}]
""",
    "webex without a room": """
route: {receiver: a}
receivers: [{name: a, webex_configs: [{http_config: {authorization: {credentials: t}}}]}]
""",
    "webex without a login": "route: {receiver: a}\nreceivers: [{name: a, webex_configs: [{room_id: r}]}]",
    "slack with an unknown key": """
route: {receiver: a}
receivers: [{name: a, slack_configs: [{api_url: "https://hooks.slack.com/services/a/b/c", chanel: x}]}]
""",
    "unknown receiver kind": "route: {receiver: a}\nreceivers: [{name: a, pigeon_configs: [{}]}]",
    "time backwards": f"""
{WEBHOOK}
route: {{receiver: a}}
time_intervals: [{{name: x, time_intervals: [{{times: [{{start_time: "12:00", end_time: "11:00"}}]}}]}}]
""",
    "time without end": f"""
{WEBHOOK}
route: {{receiver: a}}
time_intervals: [{{name: x, time_intervals: [{{times: [{{start_time: "12:00"}}]}}]}}]
""",
    "bad time": f"""
{WEBHOOK}
route: {{receiver: a}}
time_intervals: [{{name: x, time_intervals: [{{times: [{{start_time: "12:00", end_time: "25:00"}}]}}]}}]
""",
    "bad weekday": f"""
{WEBHOOK}
route: {{receiver: a}}
time_intervals: [{{name: x, time_intervals: [{{weekdays: [holiday]}}]}}]
""",
    "weekdays backwards": f"""
{WEBHOOK}
route: {{receiver: a}}
time_intervals: [{{name: x, time_intervals: [{{weekdays: ["friday:monday"]}}]}}]
""",
    "day 32": f"""
{WEBHOOK}
route: {{receiver: a}}
time_intervals: [{{name: x, time_intervals: [{{days_of_month: ["32"]}}]}}]
""",
    "days across the end": f"""
{WEBHOOK}
route: {{receiver: a}}
time_intervals: [{{name: x, time_intervals: [{{days_of_month: ["-5:5"]}}]}}]
""",
    "bad month": f"""
{WEBHOOK}
route: {{receiver: a}}
time_intervals: [{{name: x, time_intervals: [{{months: [smarch]}}]}}]
""",
    "years backwards": f"""
{WEBHOOK}
route: {{receiver: a}}
time_intervals: [{{name: x, time_intervals: [{{years: ["2030:2026"]}}]}}]
""",
    "bad zone": f"""
{WEBHOOK}
route: {{receiver: a}}
time_intervals: [{{name: x, time_intervals: [{{location: Nowhere/City}}]}}]
""",
    "inhibition with a bad label": f"""
{WEBHOOK}
route: {{receiver: a}}
inhibit_rules: [{{source_matchers: ["a"], target_matchers: ["b=c"]}}]
""",
}


TEMPLATES = {
    "of nothing": "",
    "with a definition": '{{ define "own" }}{{ .Status | toUpper }} {{ join "," .CommonLabels.Names }}{{ end }}',
    "with branches": '{{ range .Alerts }}{{ if eq .Status "firing" }}a{{ else }}b{{ end }}{{ end }}',
    "that uses what nobody defines": '{{ template "nowhere" . }}',
    "without an end": '{{ define "own" }}',
    "with an unknown function": "{{ shout .Status }}",
    "with an unclosed action": "{{ .Status ",
    "with a bad pipeline": "{{ .Status | }}",
    "with an undefined variable": "{{ $x }}",
    "with a lonely end": "{{ end }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
async def test_template_files_get_the_verdict_of_amtool(name: str, tmp_path: Path) -> None:
    require("amtool")
    path = tmp_path / "alertmanager.yml"
    path.write_text("route: {receiver: a}\nreceivers: [{name: a}]\ntemplates: ['*.tmpl']\n")
    (tmp_path / "own.tmpl").write_text(TEMPLATES[name])
    await same_verdict(path)


@pytest.mark.parametrize("name", FILES)
async def test_configuration_files_get_the_verdict_of_amtool(name: str, tmp_path: Path) -> None:
    require("amtool")
    path = tmp_path / "alertmanager.yml"
    path.write_text(FILES[name])
    await same_verdict(path)


async def same_verdict(path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "amtool", "check-config", str(path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    try:
        ConfigFile(path).load()
        problem = None
    except ConfigError as error:
        problem = str(error)
    assert (problem is None) is (process.returncode == 0), (problem, output, errors)
