from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from collector.alerts.config import load_config
from collector.alerts.matchers import parse_matcher
from collector.errors import ConfigError
from collector.model.series import Matcher, MatchOp

GOOD = """
route:
  receiver: worker
  group_by: [alertname, service]
  group_wait: 0s
  group_interval: 100ms
  repeat_interval: 1h
  routes:
    - receiver: mail
      matchers: ['severity="warning"', team=~shop|cart]
      continue: true
receivers:
  - name: worker
    webhook_configs:
      - url: http://127.0.0.1:9095/api/v1/webhook/alertmanager
        send_resolved: true
        max_alerts: 10
        timeout: 5s
        http_config: {authorization: {type: Bearer, credentials_file: /run/token}}
  - name: mail
"""


def changed(**keys: Any) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(GOOD)
    for path, value in keys.items():
        *parents, last = path.split("__")
        target: Any = data
        for parent in parents:
            target = target[int(parent)] if parent.isdigit() else target[parent]
        target[last] = value
    return data


def test_every_built_key_is_read() -> None:
    config = load_config(yaml.safe_load(GOOD))
    assert (config.route.group_wait, config.route.group_interval, config.route.repeat_interval) == (0, 100, 3_600_000)
    (child,) = config.route.routes
    assert child.matchers == (
        Matcher("severity", MatchOp.EQUAL, "warning"),
        Matcher("team", MatchOp.REGEX, "shop|cart"),
    )
    assert child.continue_
    (webhook,) = config.receivers[0].webhook_configs
    assert (webhook.max_alerts, webhook.timeout) == (10, 5000)
    assert webhook.http_config is not None
    assert webhook.http_config.authorization is not None
    assert webhook.http_config.authorization.credentials_file == Path("/run/token")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (changed(tracing={}), "'tracing' is a key of Alertmanager that is not built yet"),
        (changed(receivers__0__jira_configs=[]), "receivers.0: 'jira_configs' is a key of Alertmanager that is not bu"),
        (changed(route__match={"a": "b"}), "root route must not have any matchers"),
        (changed(rout={}), "field 'rout' is not known"),
        (changed(route__routes__0__grup_by=[]), "route.routes.0: field 'grup_by' is not known"),
        (changed(route__receiver="nobody"), "undefined receiver 'nobody' used in route"),
        (changed(route__receiver=None), "root route must specify a default receiver"),
        (changed(route__matchers=["a=b"]), "root route must not have any matchers"),
        (changed(route__continue=True), "cannot have continue in root route"),
        (changed(route__group_interval="0s"), "route.group_interval: cannot be zero"),
        (changed(route__group_wait="soon"), "route.group_wait: not a valid duration string: 'soon'"),
        (changed(route__group_by=["...", "a"]), "cannot have wildcard group_by"),
        (changed(receivers__1__name="worker"), "notification config name 'worker' is not unique"),
        (changed(receivers__0__webhook_configs__0__url="ftp://x"), "url: unsupported URL"),
        (changed(route__routes__0__matchers=["a"]), "bad matcher format: a"),
        (changed(route__routes__0__matchers=['a=~"("']), "bad matcher a=~"),
        ({"route": {"receiver": "a"}}, "undefined receiver 'a' used in route"),
        (3, "configuration: "),
    ],
)  # fmt: skip
def test_wrong_or_unbuilt_key_is_refused_by_name(data: object, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(data, source="am.yml")
    assert problem in str(caught.value)
    assert str(caught.value).startswith("am.yml: ")


def test_secrets_in_the_configuration_are_not_repeated_when_it_is_wrong() -> None:
    authorization = {"credentials": "s3cret", "credentials_file": "s3cret", "type": "s3cret"}
    data = changed(receivers__0__webhook_configs__0__http_config={"authorization": authorization})
    with pytest.raises(ConfigError) as caught:
        load_config(data)
    assert "at most one of credentials & credentials_file must be configured" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("a=b", ("a", MatchOp.EQUAL, "b")),
        (' a != "b c" ', ("a", MatchOp.NOT_EQUAL, "b c")),
        (r'a=~"x\"y.*"', ("a", MatchOp.REGEX, 'x"y.*')),
        ("a!~b|c", ("a", MatchOp.NOT_REGEX, "b|c")),
        ('a=""', ("a", MatchOp.EQUAL, "")),
    ],
)
def test_matcher_is_read_as_alertmanager_reads_it(text: str, matcher: tuple[str, MatchOp, str]) -> None:
    assert parse_matcher(text) == Matcher(*matcher)
