from __future__ import annotations

import math

import pytest

from collector.errors import BadRequestError
from collector.gotemplate.tree import TemplateError
from collector.rules.template import Samples, Template, TemplateContext, sample


def query(expr: str) -> Samples:
    if expr == "broken":
        raise BadRequestError("many-to-many matching not allowed")
    if expr == "nothing":
        return []
    return [sample({"job": "b"}, 2.0), sample({"job": "a"}, 3.5)]


CONTEXT = TemplateContext("http://collector:9090/prom", query, {"region": "north"}, 12_000)


def expand(text: str, value: float = 0.75, **labels: str) -> str:
    return Template.lenient(text, "T").expand({"job": "catalog", **labels}, value, CONTEXT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no action", "no action"),
        ("{{ $labels.job }} at {{ $value }}", "catalog at 0.75"),
        ("{{ .Labels.job }} at {{ .Value }}", "catalog at 0.75"),
        ("{{ $.Labels.job }}", "catalog"),
        ("[{{ $labels.nope }}]", "[]"),
        ("{{ $labels }}", "map[job:catalog]"),
        ("{{ $externalURL }} {{ pathPrefix }}", "http://collector:9090/prom /prom"),
        ("{{ externalURL }}", "http://collector:9090/prom"),
        ('{{ printf "%.1f s in %s" $value .Labels.job }}', "0.8 s in catalog"),
        ('{{ $value | printf "%.3f" }}', "0.750"),
        ('{{ "shout" | toUpper }}{{ toLower "LOW" }}{{ title "two words" }}', "SHOUTlowTwo Words"),
        ('{{ reReplaceAll "c(a)t" "<$1>" $labels.job }}', "<a>alog"),
        ('{{ if match "^cat" $labels.job }}yes{{ end }}', "yes"),
        ("{{ if gt $value 0.5 }}high{{ else }}low{{ end }}", "high"),
        ('{{ if gt $value 1.0 }}a{{ else if eq .Labels.job "catalog" }}b{{ else }}c{{ end }}', "b"),
        ('{{ if and (lt $value 1.0) (not false) }}x{{ end }}{{ or "" "y" }}', "xy"),
        ("{{ with $labels.job }}<{{ . }}>{{ end }}{{ with $labels.nope }}a{{ else }}none{{ end }}", "<catalog>none"),
        ('{{ range query "up" }}{{ .Labels.job }}={{ .Value }} {{ end }}', "b=2 a=3.5 "),
        ('{{ range $i, $s := query "up" | sortByLabel "job" }}{{ $i }}{{ $s.Labels.job }}{{ end }}', "0a1b"),
        ('{{ range query "nothing" }}x{{ else }}empty{{ end }}', "empty"),
        ('{{ range query "up" }}{{ .Value }}{{ break }}{{ end }}', "2"),
        ('{{ query "up" | first | value }} {{ (query "up" | first).Labels.job }}', "2 b"),
        ('{{ query "up" | first | label "job" }}', "b"),
        ("a  {{- /* gone */ -}}  b", "ab"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ('{{ "}}" }}{{ `raw "x"` }}', '}}raw "x"'),
        ('{{ len "abc" }}{{ index $labels "job" }}{{ urlquery "a b&c" }}', "3cataloga+b%26c"),
        ('{{ stripPort "host:80" }} {{ stripDomain "host.example.org:80" }}', "host host:80"),
        ('{{ args 1 2 }}', "map[arg0:1 arg1:2]"),
        ('{{ define "a" }}{{ . }}{{ end }}{{ template "a" 1 }}{{ block "b" "x" }}{{ . }}{{ end }}', "1x"),
        ("{{ now }} {{ toDuration 5400.5 }} {{ (toDuration -90.0).Minutes }}", "12 1h30m0.5s -1.5"),
        ('{{ (toTime $value).UnixMilli }} {{ (toTime 0.0).Sub (toTime 3.5) }}', "750 -3.5s"),
    ],
)  # fmt: skip
def test_template_expands_as_in_prometheus(text: str, expected: str) -> None:
    assert expand(text) == expected


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        ("humanize", 0.0, "0"),
        ("humanize", 1_234_567.0, "1.235M"),
        ("humanize", 0.0012, "1.2m"),
        ("humanize", math.nan, "NaN"),
        ("humanize1024", 1_048_576.0, "1Mi"),
        ("humanize1024", 1.0, "1"),
        ("humanizeDuration", 0.0, "0s"),
        ("humanizeDuration", 0.7475, "747.5ms"),
        ("humanizeDuration", 2.485, "2.485s"),
        ("humanizeDuration", 899.99, "14m 59s"),
        ("humanizeDuration", 86_400.0, "1d 0h 0m 0s"),
        ("humanizeDuration", -3_661.0, "-1h 1m 1s"),
        ("humanizeDuration", math.inf, "+Inf"),
        ("humanizePercentage", 0.1234567, "12.35%"),
        ("humanizeTimestamp", 1_435_065_584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
    ],
)
def test_humanizing_rounds_as_prometheus_does(function: str, value: float, expected: str) -> None:
    assert expand(f"{{{{ $value | {function} }}}}", value) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ nope }}", 'template: __alert_T:1: function "nope" not defined'),
        (
            '\n{{ tmpl "a" . }}',
            'template: __alert_T:2: function "tmpl" not defined',
        ),  # consoles only, in Prometheus too
        ("{{ $labels", "template: __alert_T:1: unclosed action"),
        ("{{ $nope }}", 'template: __alert_T:1: undefined variable "$nope"'),
        ("{{ if true }}", "template: __alert_T:1: unexpected EOF"),
        ("{{ end }}", "template: __alert_T:1: unexpected {{end}}"),
        ("{{ }}", "template: __alert_T:1: missing value for command"),
        ("{{ template x }}", 'template: __alert_T:1: unexpected "x" in template clause'),
        ('{{ if true }}{{ define "x" }}{{ end }}{{ end }}', "template: __alert_T:1: unexpected {{define}}"),
        ('{{ define "x" }}{{ $labels.job }}{{ end }}', 'template: __alert_T:1: undefined variable "$labels"'),
        ('{{ define "x" }}', "template: __alert_T:1: unexpected EOF"),
        ("{{ if 1 }}" * 60 + "{{ end }}" * 60, "template: __alert_T:1: nested deeper than 50 levels"),
        ("{{ if }}x{{ end }}", "template: __alert_T:1: missing value for if"),
        ("{{ ( 1 }}", "template: __alert_T:1: unclosed left paren"),
        ("{{ 1 2 }}", "template: __alert_T:1: can't give argument to non-function in command"),
        ("{{ break }}", "template: __alert_T:1: {{break}} outside {{range}}"),
    ],
)
def test_template_that_does_not_parse_is_told_when_checked_and_in_the_annotation(text: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(text, "T")
    assert str(caught.value) == f"error parsing template __alert_T: {problem}"
    assert expand(text) == f"<error expanding template: {caught.value}>"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ .Foo }}", "can't evaluate field Foo in type template.AlertTemplateData"),
        ('{{ humanize "x" }}', 'error calling humanize: strconv.ParseFloat: parsing "x": invalid syntax'),
        ("{{ title }}", "wrong number of args for title: got 0"),
        ('{{ query "broken" }}', "error calling query: many-to-many matching not allowed"),
        ('{{ query "nothing" | first }}', "error calling first: first() called on vector with no elements"),
        ('{{ lt $value "x" }}', "error calling lt: incompatible types for comparison"),
    ],
)
def test_template_that_fails_becomes_text_and_never_an_exception(text: str, problem: str) -> None:
    assert expand(text).startswith("<error expanding template: error executing template __alert_T:")
    assert problem in expand(text)


def test_template_cannot_grow_beyond_its_limit() -> None:
    text = "{{ range query `up` }}" * 16 + "0123456789" + "{{ end }}" * 16
    assert "exceeds the limit of 65536 characters" in expand(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{{ template "x" }}', 'template "x" not defined'),
        ('{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}', "exceeded maximum template depth (50)"),
        ("{{ (toTime 1.0).Format }}", "wrong number of args for Format"),
        ("{{ $labels.job 1 }}", "job has arguments but cannot be invoked as function"),
        ('{{ reReplaceAll "(" "" "a" }}', "error calling reReplaceAll: error parsing regexp"),
        ("{{ toTime 1e300 }}", "cannot convert"),
    ],
)
def test_template_that_fails_says_so_in_its_text(text: str, problem: str) -> None:
    shown = expand(text)
    assert shown.startswith("<error expanding template: ")
    assert problem in shown


def test_external_labels_are_there() -> None:
    assert expand("{{ $externalLabels.region }}{{ .ExternalLabels.region }}") == "northnorth"


def test_a_hostile_regular_expression_takes_no_time() -> None:
    assert expand('{{ match "(a+)+$" "' + "a" * 200 + 'b" }}') == "false"
