from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.gotemplate.goformat import format_exponent, format_float, sprintf


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (0.75, "0.75"),
        (100.0, "100"),
        (100_000.0, "100000"),
        (1_000_000.0, "1e+06"),
        (1e21, "1e+21"),
        (1.5e-7, "1.5e-07"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (-3.25e30, "-3.25e+30"),
        (123456789.125, "1.23456789125e+08"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_float_prints_as_go_prints_it(value: float, text: str) -> None:
    assert format_float(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_texts_of_floats_read_back_as_the_same_float(value: float) -> None:
    assert float(format_float(value)) == value
    assert float(format_exponent(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1e+00"), (0.7475, "7.475e-01"), (0.0, "0e+00"), (math.nan, "NaN"), (12345.0, "1.2345e+04")],
)
def test_value_of_the_api_has_the_fewest_digits_that_read_back(value: float, text: str) -> None:
    assert format_exponent(value) == text


@pytest.mark.parametrize(
    ("template", "arguments", "text"),
    [
        ("%.2f s", [1.236], "1.24 s"),
        ("%s is %d", ["cart", 3], "cart is 3"),
        ("%v %v %v", [2.5, True, "x"], "2.5 true x"),
        ("%q", ['a "b"'], '"a \\"b\\""'),
        ("%5.1f|%-5s|%05d|%+d", [3.14159, "ab", 42, 7], "  3.1|ab   |00042|+7"),
        ("%g %.3g %e", [0.1, 1234.5, 1.0], "0.1 1.23e+03 1.000000e+00"),
        ("100%%", [], "100%"),
        ("%x %X", [255, "hi"], "ff 6869"),
        ("%.3s", ["abcdef"], "abc"),
        ("%d", [1.5], "%!d(float64=1.5)"),
        ("%s", [1.5], "%!s(float64=1.5)"),
        ("%s %s", ["a"], "a %!s(MISSING)"),
        ("a", [1], "a%!(EXTRA int=1)"),
    ],
)
def test_printf_prints_as_go_prints(template: str, arguments: list[object], text: str) -> None:
    assert sprintf(template, arguments) == text
