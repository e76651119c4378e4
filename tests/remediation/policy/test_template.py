import pytest

from remediation.errors import TemplateError
from remediation.policy.template import Values, check_promql, render, render_promql

VALUES = Values(
    labels={"service": "catalog", "evil": '"} or vector(99) or {x="'}, annotations={"note": "a\nb\\"}, target="cart"
)


def test_values_are_put_in_their_places():
    assert render("{{ labels.service }}-{{target}}", VALUES) == "catalog-cart"
    assert render_promql('up{job="{{ target }}"} # of "it"', VALUES) == 'up{job="cart"} # of "it"'


def test_label_cannot_change_what_a_query_asks():
    query = render_promql('up{job="{{ labels.evil }}"}', VALUES)
    assert query == r'up{job="\"} or vector(99) or {x=\""}'


def test_newlines_and_backslashes_are_escaped():
    assert render_promql('up{job="{{ annotations.note }}"}', VALUES) == r'up{job="a\nb\\"}'


def test_substituted_text_is_not_rendered_again():
    values = Values(labels={"service": "{{ target }}"}, annotations={}, target="cart")
    assert render("{{ labels.service }}", values) == "{{ target }}"


@pytest.mark.parametrize(
    "query",
    [
        "up{{ target }}",
        "up{job='{{ target }}'}",
        "up{job=`{{ target }}`}",
        'up{job=~"{{ target }}"}',
        'up{job!~ "x{{ target }}"}',
        'up{job="a"} + {{ labels.x }}',
        'up{job="{{ labels.service | safe }}"}',
        'up{job="{% if x %}"}',
        'up{job="{{ labels }}"}',
        'up{job="{{ labels.__class__.x }}"}',
        'up{job="{{ self.x }}"}',
        '# " \n up{{ target }}"',
    ],
)
def test_placeholder_where_it_could_be_promql_is_refused(query):
    with pytest.raises(TemplateError):
        check_promql(query)


def test_value_that_the_alert_does_not_have_is_an_error():
    with pytest.raises(TemplateError, match=r"labels\.team"):
        render("{{ labels.team }}", VALUES)
