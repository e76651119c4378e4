"""Template files of users, and the functions that Debian's amtool does not have yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from collector.alerts.config import load_config
from collector.alerts.notification import Notification
from collector.alerts.notification_template import NotificationTemplates
from collector.alerts.template_data import template_data
from collector.errors import ConfigError
from collector.gotemplate.tree import TemplateError
from collector.model.alert import Alert

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def alert(instance: str, ends_at_ms: int) -> Alert:
    labels = (("alertname", "Slow"), ("instance", instance), ("job", "cart"))
    return Alert(labels, (("summary", "slow"),), NOW_MS - HOUR_MS, ends_at_ms, "http://c/graph")


NOTIFICATION = Notification(
    alerts=[alert("1", NOW_MS + HOUR_MS), alert("2", NOW_MS - 1000)],
    receiver="shop",
    group_labels=(("alertname", "Slow"),),
    group_key="k",
    external_url="http://am",
    now_ms=NOW_MS,
)
DATA = template_data(NOTIFICATION)


def expand(text: str, files: dict[str, str] | None = None) -> str:
    return NotificationTemplates((files or {}).items()).text(text, DATA, now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{{ (index .Alerts 0).StartsAt | tz "Europe/Berlin" | date "15:04 MST -07:00" }}', "22:13 CET +01:00"),
        ('{{ date "2006-01-02T15:04:05Z07:00" (index .Alerts 0).StartsAt }}', "2023-11-14T21:13:20Z"),
        ("{{ since (index .Alerts 0).StartsAt }} {{ (since (index .Alerts 0).StartsAt).Hours }}", "1h0m0s 1"),
        ("{{ since (index .Alerts 0).StartsAt | humanizeDuration }}", "1h 0m 0s"),
        ("{{ trimSpace `  a ` }}{{ urlUnescape `a%20b+c` }}", "aa b c"),
        ("{{ .CommonLabels | toJson }} {{ toJson (stringSlice `<a>`) }}",
         '{"alertname":"Slow","job":"cart"} ["\\u003ca\\u003e"]'),
        ("{{ .CommonLabels }}", "alertname=Slow, job=cart"),
        ("{{ if (index .Alerts 0).StartsAt.Before (index .Alerts 1).EndsAt }}before{{ end }}", "before"),
    ],
)  # fmt: skip
def test_functions_of_newer_alertmanagers_are_known(text: str, expected: str) -> None:
    assert expand(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{{ tz "Nowhere/City" (index .Alerts 0).StartsAt }}', "unknown time zone Nowhere/City"),
        ('{{ date "15:04" "now" }}', "expected time.Time; got string"),
        ("{{ .Nope }}", "can't evaluate field Nope in type *template.Data"),
        ("{{ range .Alerts }}{{ .Nope }}{{ end }}", "can't evaluate field Nope in type template.Alert"),
        ("{{ join 1 .CommonLabels.Names }}", "wrong type for value; expected string; got int"),
        ("{{ index .Alerts 7 }}", "index out of range: 7"),
        ('{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}', "exceeded maximum template depth"),
    ],
)
def test_template_that_cannot_be_expanded_says_why(text: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        expand(text)
    assert problem in str(caught.value)


def test_files_override_the_defaults_and_one_another_but_not_with_nothing() -> None:
    files = {
        "a.tmpl": '{{ define "slack.default.title" }}a{{ end }}{{ define "x" }}x of a{{ end }}',
        "b.tmpl": 'top {{ template "x" . }}{{ define "slack.default.title" }}b {{ .Status }}{{ end }}',
        "c.tmpl": '{{ define "x" }} {{/* nothing */}}\n{{ end }}',
    }
    assert expand('{{ template "slack.default.title" . }}/{{ template "b.tmpl" . }}', files) == "b firing/top x of a"


def test_text_beyond_the_bound_is_cut_and_says_so() -> None:
    text = expand("{{ range .Alerts }}" + "x" * 9000 + "{{ end }}")
    assert text == "x" * 9000 + "\n…"


def test_page_has_its_values_escaped() -> None:
    assert NotificationTemplates().html('{{ "<b>" }}<{{ 1 }}>', DATA, now_ms=NOW_MS) == "&lt;b&gt;&lt;1>"


@pytest.mark.parametrize(
    ("page", "where"),
    [
        ('<p style="color: {{ .Status }}">', "the attribute style"),
        ('<a onclick="x({{ .Status }})">', "the attribute onclick"),
        ("<script>{{ .Status }}</script>", "in <script>"),
        ("<p {{ .Status }}>", "in <p>"),
    ],
)
def test_value_where_its_escaping_is_not_known_is_refused(page: str, where: str) -> None:
    with pytest.raises(TemplateError, match=f"a value in.* {where.removeprefix('in ')} is not supported"):
        NotificationTemplates().html(page, DATA, now_ms=NOW_MS)


def config(directory: Path, **receiver: Any) -> Any:
    data = {"route": {"receiver": "r"}, "receivers": [{"name": "r", **receiver}], "templates": ["*.tmpl", "no/*.tmpl"]}
    return load_config(data, source="am.yml", directory=directory)


def test_files_are_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "own.tmpl").write_text('{{ define "own" }}{{ .Status }}!{{ end }}')
    hook = {"webhook_configs": [{"url": 'http://x/{{ template "own" . }}'}]}
    templates = config(tmp_path, **hook).notification_templates
    assert templates.text('{{ template "own" . }}', DATA, now_ms=NOW_MS) == "firing!"


def test_files_of_one_name_in_two_folders_both_count(tmp_path: Path) -> None:
    for folder, name in (("a", "first"), ("b", "second")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.tmpl").write_text(f'{{{{ define "{name}" }}}}{name}{{{{ end }}}}')
    templates = NotificationTemplates.load(["*/own.tmpl"], tmp_path)
    text = '{{ template "first" }}{{ template "second" }}'
    assert templates.text(text, DATA, now_ms=NOW_MS) == "firstsecond"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{{ define `a` }}", "template: bad.tmpl:1: unexpected EOF"),
        (b"a\n{{ nope }}", 'template: bad.tmpl:2: function "nope" not defined'),
        (b"\xff", "can't decode byte 0xff"),
        (b"x" * 1_100_000, "larger than the limit of 1048576 bytes"),
    ],
)
def test_bad_file_is_refused_with_its_name_and_line(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "bad.tmpl").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config(tmp_path)
    assert str(caught.value).startswith(f"am.yml: template file {tmp_path / 'bad.tmpl'}: ")
    assert problem in str(caught.value)
