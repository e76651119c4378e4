"""Transformations, with options as Grafana saves them."""

import pytest

from dashboards.viewer.grafana.dashboard import parse_dashboard
from dashboards.viewer.panels.field import configured
from dashboards.viewer.panels.frames import Frame
from dashboards.viewer.panels.table import Column, Table, tables_of
from dashboards.viewer.panels.transformations import renamed, transformed


def table(**columns):
    return Table(tuple(Column(name, tuple(cells)) for name, cells in columns.items()))


def plain(tables):
    return [{column.name: list(column.cells) for column in each.columns} for each in tables]


def apply(tables, kind, **options):
    found, unknown = transformed(tables, [{"id": kind, "options": options}])
    assert unknown == []
    return plain(found)


RATES = table(job=["cart", "payment"], rate=[2.0, 1.0])
ERRORS = table(job=["payment", "cart", "checkout"], errors=[0.5, 0.0, None])


def test_merge_makes_one_row_of_those_that_agree():
    assert apply([RATES, ERRORS], "merge") == [
        {"job": ["cart", "payment", "checkout"], "rate": [2.0, 1.0, None], "errors": [0.0, 0.5, None]}
    ]


def test_organize_leaves_out_renames_and_orders():
    organized = apply(
        [RATES],
        "organize",
        excludeByName={"gone": True},
        indexByName={"rate": 0, "job": 1},
        renameByName={"job": "Service"},
    )
    assert [list(each) for each in organized] == [["rate", "Service"]]
    assert apply([RATES], "organize", excludeByName={"rate": True}) == [{"job": ["cart", "payment"]}]


def test_regex_renames_with_groups_as_javascript_writes_them():
    assert list(apply([table(**{"http 200": [1.0]})], "renameByRegex", regex="http (.*)", renamePattern="$1!")[0]) == [
        "200!"
    ]
    assert apply([RATES], "renameByRegex", regex="(", renamePattern="x") == plain([RATES])


def test_reduce_makes_a_row_of_each_series():
    over_time = [table(Time=[0.0, 1.0], cart=[1.0, 3.0]), table(Time=[0.0, 1.0], payment=[4.0, 2.0])]
    assert apply(over_time, "reduce", reducers=["max", "lastNotNull"]) == [
        {"Field": ["cart", "payment"], "Max": [3.0, 4.0], "Last": [3.0, 2.0]}
    ]
    assert apply(over_time, "reduce", reducers=["sum"], mode="reduceFields") == [{"cart": [4.0], "payment": [6.0]}]


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ({"id": "greater", "options": {"value": 1}}, ["cart"]),
        ({"id": "between", "options": {"from": 0, "to": 1.5}}, ["payment"]),
        ({"id": "equal", "options": {"value": "2"}}, ["cart"]),
        ({"id": "isNull", "options": {}}, []),
    ],
)
def test_rows_are_filtered_by_value(config, kept):
    options = {"filters": [{"fieldName": "rate", "config": config}], "match": "any", "type": "include"}
    assert apply([RATES], "filterByValue", **options)[0]["job"] == kept
    left = apply([RATES], "filterByValue", **{**options, "type": "exclude"})[0]["job"]
    assert sorted([*kept, *left]) == ["cart", "payment"]


def test_sort_puts_what_is_empty_last():
    assert apply([ERRORS], "sortBy", sort=[{"field": "errors"}])[0]["job"] == ["cart", "payment", "checkout"]
    assert apply([ERRORS], "sortBy", sort=[{"field": "errors", "desc": True}])[0]["job"] == [
        "payment",
        "cart",
        "checkout",
    ]


def test_join_is_by_time_and_keeps_every_row():
    joined = apply([table(Time=[1.0, 2.0], a=[1.0, 2.0]), table(Time=[2.0, 3.0], b=[5.0, 6.0])], "joinByField")
    assert joined == [{"Time": [1.0, 2.0, 3.0], "a": [1.0, 2.0, None], "b": [None, 5.0, 6.0]}]


def test_what_is_not_understood_is_named_and_left_out():
    asked = [{"id": "prepareTimeSeries"}, {"id": "limit", "options": {"limitField": 1}}, {"id": "x", "disabled": True}]
    found, unknown = transformed([RATES], asked)
    assert (plain(found), unknown) == ([{"job": ["cart"], "rate": [2.0]}], ["prepareTimeSeries"])


def panel_of(**panel):
    return parse_dashboard({"title": "x", "panels": [{"type": "timeseries", **panel}]}).panels[0]


def test_series_are_renamed_and_their_overrides_follow_the_new_name():
    panel = panel_of(
        transformations=[
            {"id": "renameByRegex", "options": {"regex": "^shop-", "renamePattern": ""}},
            {"id": "groupBy", "options": {}},
        ],
        fieldConfig={
            "overrides": [
                {"matcher": {"id": "byName", "options": "cart"}, "properties": [{"id": "unit", "value": "s"}]}
            ]
        },
    )
    frames = [Frame(configured(panel, "shop-cart", "A"), {}, [], "A")]
    found, unknown = renamed(panel, frames)
    assert [(frame.config.name, frame.config.unit) for frame in found] == [("cart", "s")]
    assert unknown == ["groupBy"]


def test_tables_have_a_column_for_each_label_and_one_for_each_query():
    panel = panel_of()
    frames = [
        Frame(configured(panel, "a", ref), {"job": "cart"}, [(1.0, value)], ref)
        for ref, value in (("A", 1.0), ("B", 2.0))
    ]
    merged, _ = transformed(tables_of(frames, as_table=True), [{"id": "merge"}])
    assert plain(merged) == [{"Time": [1000.0], "job": ["cart"], "Value #A": [1.0], "Value #B": [2.0]}]
