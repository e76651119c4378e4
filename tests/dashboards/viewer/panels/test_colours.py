import re
from itertools import product

import pytest

from dashboards.viewer.grafana.dashboard import parse_dashboard
from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.pages.stylesheet import STYLE
from dashboards.viewer.panels.colours import _NAMED, CONTRAST, PALETTE, as_text, colour, contrast, text_on
from dashboards.viewer.panels.table import Column, Table
from dashboards.viewer.panels.table_view import drawn

SHADES = sorted({*PALETTE, *(shade for shade in _NAMED.values() if shade.startswith("#"))})
STRANGERS = ["#000", "#fff", "#ffffff", "#7f7f7f", "#FF0000", "#0000ff", "rgb(255, 255, 0)", "rgba(12, 200, 90, 0.4)"]


def variables(theme):
    rule = re.search(rf"{re.escape(theme)} {{(.*?)}}", STYLE, re.DOTALL)[1]
    return dict(re.findall(r"(--[a-z]+): (#[0-9a-f]+)", rule))


GROUNDS = {
    dark: [variables(theme)[name] for name in ("--ground", "--surface", "--raised")]
    for dark, theme in ((False, ":root"), (True, ".body--dark"))
}


@pytest.mark.parametrize(("shade", "dark"), list(product([*SHADES, *STRANGERS], (False, True))))
def test_every_colour_can_be_read_as_text_on_every_ground_of_both_themes(shade, dark):
    for ground in GROUNDS[dark]:
        assert contrast(as_text(shade, dark=dark), ground) >= CONTRAST, ground


@pytest.mark.parametrize("shade", [*SHADES, *STRANGERS])
def test_every_colour_has_text_that_can_be_read_on_it(shade):
    assert contrast(text_on(shade), shade) >= CONTRAST


@pytest.mark.parametrize("dark", [False, True])
def test_the_colours_of_words_in_the_styles_can_be_read(dark):
    styles = variables(".body--dark" if dark else ":root")
    for name, ground in product(("--ink", "--soft", "--accent", "--good", "--warn", "--bad"), GROUNDS[dark]):
        assert contrast(styles[name], ground) >= CONTRAST, (name, ground)


def test_contrast_is_told_as_the_guidelines_do():
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.005)
    assert contrast("rgb(1, 2, 3)", "#010203") == pytest.approx(1)


def test_a_colour_that_can_be_read_stays_as_it_is_and_an_unknown_one_is_the_ink_of_the_page():
    assert as_text("#8cb6ff", dark=True) == "#8cb6ff"
    assert as_text("hsl(12 50% 50%)", dark=True) == as_text("rebeccapurple", dark=False) == text_on("red") == "inherit"


def test_what_is_no_colour_cannot_leave_the_style_that_it_stands_in():
    for words in ('red" onmouseover="alert(1)', "red;position:fixed", "url(https://elsewhere.test/x)", "<b>", ""):
        assert colour(words) == "inherit"
    assert [colour(each) for each in ("dark-red", "#abc", "rgb(1, 2, 3)", "hsl(0 10% 20%)", "teal")] == [
        "#b3262b",
        "#abc",
        "rgb(1, 2, 3)",
        "hsl(0 10% 20%)",
        "teal",
    ]


@pytest.mark.parametrize(
    ("kind", "dark", "style"),
    [
        ("auto", False, f'style="color:{as_text("#e5484d", dark=False)}"'),
        ("auto", True, f'style="color:{as_text("#e5484d", dark=True)}"'),
        ("color-background", True, 'style="background:#e5484d;color:#000000"'),
    ],
)
def test_a_number_of_a_table_is_written_in_a_colour_that_suits_the_theme(kind, dark, style):
    steps = [{"color": "green", "value": None}, {"color": "red", "value": 1}]
    defaults = {"thresholds": {"steps": steps}, "custom": {"cellOptions": {"type": kind}}}
    made = {"type": "table", "fieldConfig": {"defaults": defaults}}
    panel = parse_dashboard({"title": "x", "panels": [made]}).panels[0]
    table = Table((Column("p99", (2.0,), "A"),))
    assert style in drawn(panel, table, {}, Span(0, 1), dark=dark)
