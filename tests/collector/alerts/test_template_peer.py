"""amtool expands the same templates over the same data; it must come to the same texts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from collector.alerts.notification import Notification
from collector.alerts.notification_template import NotificationTemplates
from collector.alerts.template_data import template_data, to_json
from collector.model.alert import Alert

NOW_MS = 1_700_000_000_123
SEPARATOR = "|=====|"
DATA = template_data(
    Notification(
        alerts=[
            Alert(
                (("alertname", "Slow"), ("instance", f"{number}"), ("job", "cart"), ("team", 'a"b<c>')),
                (("link", "javascript:alert(1)"), ("summary", "cart's p99 is > 1 s + more & more")),
                NOW_MS - 5_400_000,
                NOW_MS + 1_000_000_000_000 if number < 2 else NOW_MS - 1000,
                f"http://c:9090/graph?g0.expr=a%3E{number}&g0.tab=1",
            )
            for number in range(3)
        ],
        receiver="team.x-1",
        group_labels=(("alertname", "Slow"), ("job", "cart")),
        group_key="k",
        external_url="http://am:9093",
        now_ms=NOW_MS,
    )
)
# Debian's Alertmanager has fewer functions than the newest (no date, tz, since, humanizeDuration, toJson, trimSpace),
# and prints sets of labels as Go's maps.
TEXTS = [
    "plain",
    "{{ .Receiver }} {{ .Status }} {{ .ExternalURL }}",
    "{{ len .Alerts }} {{ .Alerts.Firing | len }} {{ .Alerts.Resolved | len }}",
    "{{ .CommonLabels.SortedPairs.Names }} {{ .CommonLabels.Values }} {{ .CommonLabels.alertname }}",
    "{{ .CommonLabels.nope }}|{{ .CommonLabels.Names | join `,` }}",
    '{{ (.CommonLabels.Remove (stringSlice "team" "job")).Names }}',
    "{{ with .CommonLabels.Remove .GroupLabels.Names }}{{ .Values | join ` ` }}{{ else }}none{{ end }}",
    "{{ range .Alerts }}{{ .Status }}/{{ .Labels.instance }}/{{ .Fingerprint }} {{ end }}",
    "{{ range $i, $a := .Alerts }}{{ if $i }}, {{ end }}{{ $a.Labels.instance }}{{ end }}",
    '{{ range $k, $v := .CommonLabels }}{{ printf "%s=%q " $k $v }}{{ end }}',
    '{{ (index .Alerts 0).StartsAt.Format "Mon Jan _2 15:04:05.000 2006 -0700" }}',
    "{{ (index .Alerts 0).StartsAt }} {{ (index .Alerts 0).EndsAt.IsZero }} {{ (index .Alerts 0).StartsAt.Unix }}",
    "{{ (index .Alerts 2).EndsAt.Sub (index .Alerts 2).StartsAt }}",
    '{{ "hello wORLD don\'t foo_bar a.b x-y 3com" | title }}',
    '{{ toUpper "ähm" }} {{ "X" | toLower }}',
    '{{ match "^cart" "cart.x" }} {{ reReplaceAll "c(a)r" "<$1>" "cart car" }}',
    '{{ if and (eq .Status "firing") (gt (len .Alerts) 1) }}many{{ else if eq .Status "firing" }}one{{ end }}',
    "{{ define `x` }}[{{ . }}]{{ end }}{{ template `x` .Status }}{{ template `own` . }}",
    "{{- /* gone */ -}} a {{- 1 }}  {{ 2.5 }} {{ true }} {{ `raw` }}",
    "{{ .CommonAnnotations.summary | urlquery }} {{ .CommonAnnotations.summary | html }}",
    "{{ index .CommonLabels `job` }} {{ slice .Status 1 3 }} {{ not true }} {{ print 1 2 `a` 3 }}",
]
PAGES = [
    "<b>{{ .CommonLabels.team }}</b> <!-- gone {{ .Status }} --> 1 < 2 {{ .CommonAnnotations.summary }}",
    '<a href="{{ .ExternalURL }}" title="{{ .CommonLabels.team }}">x</a>',
    '<a href="{{ (index .Alerts 0).GeneratorURL }}">x</a>',
    "<a href=\"{{ .CommonAnnotations.link }}\">x</a><a href='http://x/{{ .CommonLabels.team }}'>y</a>",
    '<a href="{{ .ExternalURL }}/#/alerts?receiver={{ .Receiver }}&q={{ .CommonAnnotations.summary }}">x</a>',
    '<a href="http://x/?q={{ .CommonAnnotations.summary | urlquery }}">x</a>',
    "<img alt={{ .CommonLabels.team }} src={{ .ExternalURL }}><br/>",
    '<p class="a" data-x="{{ .CommonLabels.team }}">{{ .CommonAnnotations.summary | safeHtml }}</p>',
    "<title>{{ .CommonLabels.team }}</title><textarea>{{ .CommonAnnotations.summary }}</textarea>",
    '<style>a { color: red } b > c {}</style><script>if (1 < 2) { x("<b>") }</script>{{ .Status }}',
    "<!DOCTYPE html><html><body>{{ range .Alerts }}<li>{{ .Labels.instance }}{{ end }}</body></html>",
    '<td>{{ if eq .Status "firing" }}<b>{{ len .Alerts.Firing }}</b>{{ else }}none{{ end }}</td>',
    "{{ .CommonAnnotations.summary | html }} {{ `<i>` }} <i>{{ `<i>` | safeHtml }}</i>",
]
OWN = '{{ define "own" }}own {{ .Status }}{{ end }}{{ define "__alertmanager" }}Steersman{{ end }}'


@pytest.fixture
def amtool() -> str:
    path = shutil.which("amtool")
    if path is None and os.environ.get("CI") == "true":
        pytest.fail("amtool is not on PATH, and CI must not do without it")
    if path is None:
        pytest.skip("amtool is not on PATH (Debian: apt-get install prometheus-alertmanager)")
    return path


def rendered(amtool: str, folder: Path, text: str, kind: str) -> str:
    (folder / "data.json").write_text(to_json(DATA))
    (folder / "own.tmpl").write_text(OWN)
    command = [amtool, "template", "render", f"--template.glob={folder / '*.tmpl'}", f"--template.text={text}"]
    command += [f"--template.data={folder / 'data.json'}", f"--template.type={kind}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, (text, done.stderr)
    return done.stdout.removesuffix("\n")


@pytest.mark.peer
@pytest.mark.parametrize(("kind", "texts"), [("text", TEXTS), ("html", PAGES)])
def test_amtool_expands_every_template_to_the_same_text(
    amtool: str, tmp_path: Path, kind: str, texts: list[str]
) -> None:
    templates = NotificationTemplates([("own.tmpl", OWN)])
    expand = templates.html if kind == "html" else templates.text
    theirs = rendered(amtool, tmp_path, SEPARATOR.join(texts), kind).split(SEPARATOR)
    ours = [expand(text, DATA, now_ms=NOW_MS) for text in texts]
    assert dict(zip(texts, ours, strict=True)) == dict(zip(texts, theirs, strict=True))
