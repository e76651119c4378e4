"""Random PromQL over the metrics of promql_samples: hypothesis strategies of a grammar by types."""

from __future__ import annotations

from hypothesis import strategies as st

Text = st.SearchStrategy[str]

NUMBERS = st.sampled_from(["0", "1", "-2.5", "40", "1e3", "0.3", "NaN", "+Inf", "-Inf", "0x1f", "7"])
WINDOWS = st.sampled_from(["47s", "2m", "7m", "13s", "20m", "300s", "1m30s"])
STEPS = st.sampled_from(["13s", "30s", "1m", "", "47s"])
OFFSETS = st.sampled_from(["", "", "", " offset 3m", " offset -2m", " offset 47s", " offset 1h"])
PINS = st.sampled_from(["", "", "", "", " @ start()", " @ end()", " @ 1600001234.567", " @ 1600002000"])
NAMES = ("job", "instance", "code", "n", "le", "version", "kind", "absent_label")
FLOATS = (
    "load", "level", "patchy", "uneven", "info", "requests_total", "latency_seconds_bucket", "nothing_here",
    'load{job="api"}', 'load{job!="api"}', 'requests_total{code!~"5.."}', 'patchy{n=~"0|2|3"}', 'level{instance="i0"}',
    '{__name__=~"load|level",job="web"}', 'requests_total{instance=~"i[01]",job="web"}', 'uneven{kind="gauge"}',
    'info{version=~"v[0-2]"}', 'load{instance=""}', 'patchy{n!=""}',
)  # fmt: skip
COUNTERS = ("requests_total", 'requests_total{code="500"}', "latency_seconds_bucket", 'latency_seconds_bucket{le="1"}')
NATIVE = ("native", 'native{job="api"}', 'native{instance="i0"}')
OVER_TIME = (
    "avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "last_over_time",
    "present_over_time", "stddev_over_time", "stdvar_over_time", "absent_over_time", "delta", "irate", "idelta",
    "changes", "resets", "deriv",
)  # fmt: skip
ELEMENTWISE = (
    "abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "sgn", "sin", "cos", "tan", "asin", "acos", "atan",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "deg", "rad", "minute", "hour", "day_of_week", "day_of_month",
    "day_of_year", "days_in_month", "month", "year", "timestamp", "sort", "sort_desc", "absent", "-", "+", "round",
)  # fmt: skip
AGGREGATIONS = ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
ARITHMETIC = ("+", "-", "*", "/", "%", "^")
COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")


def label_lists() -> Text:
    return st.lists(st.sampled_from(NAMES), max_size=3, unique=True).map(", ".join)


def grouping() -> Text:
    return st.one_of(st.just(""), st.builds(" {} ({}) ".format, st.sampled_from(["by", "without"]), label_lists()))


def selectors(names: tuple[str, ...] = FLOATS) -> Text:
    return st.builds("{}{}{}".format, st.sampled_from(names), PINS, OFFSETS)


def ranges(inner: Text | None = None, pins: Text = PINS) -> Text:
    plain = st.builds("{}[{}]{}{}".format, st.sampled_from(FLOATS), WINDOWS, pins, OFFSETS)
    if inner is None:
        return plain
    return st.one_of(plain, st.builds("({})[{}:{}]{}{}".format, inner, WINDOWS, STEPS, pins, OFFSETS))


def scalars(vectors: Text) -> Text:
    return st.one_of(
        NUMBERS,
        NUMBERS,
        st.sampled_from(["time()", "pi()"]),
        st.builds("scalar({})".format, vectors),
        st.builds("({} {} {})".format, NUMBERS, st.sampled_from(ARITHMETIC), NUMBERS),
        st.builds("({} {} bool {})".format, NUMBERS, st.sampled_from(COMPARISONS), NUMBERS),
    )


def matchings() -> Text:
    return st.one_of(st.just(""), st.builds(" {} ({}) ".format, st.sampled_from(["on", "ignoring"]), label_lists()))


def groupings() -> Text:
    """The side that may have many, with labels to take over or without; only after `on` or `ignoring`."""
    sides = st.sampled_from(["group_left", "group_right"])
    include = st.sampled_from(["", "", "version", "n", "code"])
    return st.builds(" {} ({}) {} ({}) ".format, st.sampled_from(["on", "ignoring"]), label_lists(), sides, include)


def larger(inner: Text) -> Text:
    ratio = st.sampled_from(["0.3", "0.9", "-1", "2", "NaN", "0", "1", "0.5"])
    some = st.sampled_from(["0", "1", "2", "3.7", "-1", "100"])
    number = scalars(inner)
    name = st.sampled_from(ELEMENTWISE)
    return st.one_of(
        st.builds("{}{}({})".format, st.sampled_from(AGGREGATIONS), grouping(), inner),
        st.builds("{}({}){}".format, st.sampled_from(AGGREGATIONS), inner, grouping()),
        st.builds("quantile{}({}, {})".format, grouping(), ratio, inner),
        # of stored values only, for the same reason: it decides which of two is larger
        st.builds("{}{}({}, {})".format, st.sampled_from(["topk", "bottomk"]), grouping(), some, selectors()),
        # 2.42 keeps the metric's name
        st.builds("sum by (job) (({}) atan2{} ({}))".format, inner, matchings(), inner),
        # of exact values only: the last digit of a sine differs from one library to the next
        st.builds('count_values{}("{}", {})'.format, grouping(), st.sampled_from(["value", "job"]),
                  st.one_of(selectors(), st.builds("floor({})".format, selectors()))),
        st.builds("({}) {} {}".format, inner, st.sampled_from(ARITHMETIC + COMPARISONS), number),
        st.builds("({}) {} bool {}".format, inner, st.sampled_from(COMPARISONS), number),
        st.builds("{} {} ({})".format, number, st.sampled_from(ARITHMETIC + COMPARISONS), inner),
        st.builds("({}) {}{} ({})".format, inner, st.sampled_from(ARITHMETIC + COMPARISONS), matchings(), inner),
        st.builds("({}) {} bool {} ({})".format, inner, st.sampled_from(COMPARISONS), matchings(), inner),
        st.builds("({}) {}{} ({})".format, inner, st.sampled_from(["and", "or", "unless"]), matchings(), inner),
        st.builds("({}) {}{} ({})".format, inner, st.sampled_from(["+", "*", ">", "=="]), groupings(), inner),
        st.builds("{}({})".format, name, inner),
        st.builds("clamp({}, {}, {})".format, inner, number, number),
        st.builds("{}({}, {})".format, st.sampled_from(["clamp_min", "clamp_max", "round"]), inner, number),
        st.builds('label_replace({}, "{}", "{}", "{}", "{}")'.format, inner,
                  st.sampled_from(["job", "host", "n"]), st.sampled_from(["$1", "x-${1}", "", "same"]),
                  st.sampled_from(["instance", "job", "n"]), st.sampled_from(["i(.*)", "(.*)", "(a)pi", ""])),
        st.builds('label_join({}, "{}", "-", "job", "instance")'.format, inner, st.sampled_from(["job", "both"])),
        st.builds("vector({})".format, number),
        st.builds("{}({})".format, st.sampled_from(OVER_TIME), ranges(inner)),
        st.builds("quantile_over_time({}, {})".format, ratio, ranges(inner)),
        # 2.42 lets the window of a pinned one move with the steps
        st.builds("predict_linear({}, {})".format, ranges(inner, st.just("")), number),
        st.builds("double_exponential_smoothing({}, {}, {})".format, ranges(inner),
                  st.sampled_from(["0.3", "0.9", "1.5"]), st.sampled_from(["0.1", "0.5", "0"])),
    )  # fmt: skip


def rates(counters: tuple[str, ...] = COUNTERS) -> Text:
    """Only on counters far from zero, see promql_samples."""
    function = st.sampled_from(["rate", "increase", "irate"])
    return st.builds("{}({}[{}]{}{})".format, function, st.sampled_from(counters), WINDOWS, PINS, OFFSETS)


def quantiles() -> Text:
    buckets = st.one_of(
        st.just("latency_seconds_bucket"),
        rates(("latency_seconds_bucket", 'latency_seconds_bucket{le!="0.5"}')),
        st.builds("sum by (le{}) ({})".format, st.sampled_from(["", ", job"]), rates(("latency_seconds_bucket",))),
    )
    return st.builds(
        "histogram_quantile({}, {})".format, st.sampled_from(["0.1", "0.9", "0.5", "1", "-1", "2"]), buckets
    )


def natives() -> Text:
    """What Prometheus 2.42 can do with native histograms; it interpolates quantiles otherwise than Prometheus 3."""
    vector = st.one_of(
        selectors(NATIVE),
        st.builds("{}(native[{}]{})".format, st.sampled_from(["rate", "increase"]), WINDOWS, OFFSETS),
    )
    summed = st.one_of(vector, st.builds("sum{}({})".format, grouping(), vector))
    added = st.one_of(summed, st.builds("({}) + ({})".format, summed, summed))
    return st.one_of(
        st.builds("{}({})".format, st.sampled_from(["histogram_count", "histogram_sum", "count"]), added),
        st.builds("histogram_quantile({}, {})".format, st.sampled_from(["0.1", "0.47", "0.93", "1", "0"]), added),
        st.builds("histogram_fraction({}, {}, {})".format, st.sampled_from(["-1", "0", "0.7"]),
                  st.sampled_from(["1", "2.3", "+Inf"]), added),
        added,
    )  # fmt: skip


def expressions(*, leaves: int = 4) -> Text:
    leaf = st.one_of(
        selectors(),
        selectors(),
        rates(),
        st.builds("{}({})".format, st.sampled_from(OVER_TIME), ranges()),
        quantiles(),
    )
    return st.one_of(st.recursive(leaf, larger, max_leaves=leaves), natives())
