from __future__ import annotations

import pytest

from collector.model.ids import parse_trace_id, trace_id_halves, trace_id_hex, trace_id_of


def test_trace_ids_are_read_in_either_case_and_without_leading_zeros():
    assert parse_trace_id("0AF7651916CD43DD8448EB211C80319C") == parse_trace_id("af7651916cd43dd8448eb211c80319c")
    assert trace_id_hex(parse_trace_id("ABC")) == "00000000000000000000000000000abc"


@pytest.mark.parametrize("text", ["", "0", "0" * 32, "1" * 33, "xyz", " 1", "0x1", "١"])
def test_what_is_no_trace_id_is_refused(text):
    with pytest.raises(ValueError, match="trace id"):
        parse_trace_id(text)


def test_halves_make_the_whole_again():
    trace_id = parse_trace_id("f" * 32)
    assert trace_id_of(*trace_id_halves(trace_id)) == trace_id
