import pytest

from dashboards.viewer.grafana.links import Pointed, link_of, panel_links
from dashboards.viewer.grafana.timerange import Span

SPAN = Span(1, 2)
POINTED = Pointed("p99", {"job": "a/b", "Service": "x y"}, "3.5")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("/d/x?var-service=${__field.labels.job}&from=${__from}", "/d/x?var-service=a%2Fb&from=1000"),
        ("/d/x?v=${__data.fields.Service}", "/d/x?v=x%20y"),
        ('/d/x?v=${__data.fields["Service"]}', "/d/x?v=x%20y"),
        ("https://example.org/?${__url_time_range}&s=${__series.name}", "https://example.org/?from=1000&to=2000&s=p99"),
        ("/d/x?${__all_variables}", "/d/x?var-env=a%26b"),
        ("/d/x?e=${env}&v=${__value.raw}", "/d/x?e=a%26b&v=3.5"),
    ],
)
def test_address_is_filled_with_what_it_points_at(url, address):
    assert link_of([{"title": "t", "url": url}], POINTED, {"env": ["a&b"]}, SPAN) == ("t", address)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//evil.example", "data:text/html,x", "${env}"])
def test_address_that_is_neither_here_nor_http_is_no_link(url):
    assert link_of([{"title": "t", "url": url}], POINTED, {"env": ["javascript:alert(1)"]}, SPAN) is None


def test_titles_are_filled_too():
    links = [{"title": "${__field.labels.job} of $env", "url": "/x"}]
    assert link_of(links, POINTED, {"env": ["prod"]}, SPAN) == ("a/b of prod", "/x")
    assert panel_links([{"title": "docs", "url": "/docs"}, {"url": ""}], {}, SPAN) == [("docs", "/docs")]


def test_relative_range_stays_relative():
    told = {"__url_time_range": ["from=now-15m&to=now"]}
    assert link_of([{"title": "t", "url": "/d/x?${__url_time_range}"}], POINTED, told, SPAN) == (
        "t",
        "/d/x?from=now-15m&to=now",
    )
