"""Function calls: which function takes what, and how its arguments are evaluated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from collector.errors import UnsupportedError
from collector.model.series import Labels
from collector.query.promql import (
    functions,
    histogram,
    info,
    label_functions,
    native_functions,
    over_time,
    spread,
    trend,
)
from collector.query.promql.range_functions import Function
from collector.query.promql.tree import Call, Node, RangeSelector, Selector, Text
from collector.query.promql.values import Floats, Frame
from collector.query.promql.windows import Windows

if TYPE_CHECKING:
    from collector.query.promql.evaluator import Evaluator, Value

Handler = Callable[["Evaluator", Call], "Value"]


def call(evaluator: Evaluator, node: Call) -> Value:
    name, arguments = node.name, node.arguments
    if name in over_time.BY_NAME:
        return _over_range(evaluator, name, arguments[0])
    if (elementwise := functions.ELEMENTWISE.get(name)) is not None:
        frame = evaluator.frame_of(arguments[0])
        return frame.with_values(elementwise(frame.values)).without_names()
    if name in functions.CALENDAR:
        frame = evaluator.frame_of(arguments[0]) if arguments else evaluator.vector(evaluator.times / 1000)
        return frame.with_values(functions.calendar(name, frame.values)).without_names()
    if (statistic := native_functions.BY_NAME.get(name)) is not None:
        return native_functions.apply(statistic, evaluator.frame_of(arguments[0]))
    if (handler := _HANDLERS.get(name)) is not None:
        return handler(evaluator, node)
    raise UnsupportedError(f'function "{name}" is not supported')


def _over_range(
    evaluator: Evaluator, name: str, node: Node, *, function: Function | None = None, keep_names: bool = False
) -> Frame:
    samples = evaluator.range_samples(node, every_step=function is not None)
    check = evaluator.budget.check_time
    frame = over_time.apply(name, samples, evaluator.notes, function=function, check=check)
    frame = evaluator.at_every_step(frame)
    return frame if keep_names or name in over_time.KEEPS_NAME else frame.without_names()


# Scalars and times


def _constant(value: Callable[[Evaluator], float]) -> Handler:
    return lambda evaluator, _: np.full(evaluator.steps, value(evaluator))


def _chosen(choose: Callable[[Floats, Floats], Floats]) -> Handler:
    return lambda evaluator, node: choose(*(evaluator.scalar(argument) for argument in node.arguments))


def _timestamp(evaluator: Evaluator, node: Call) -> Frame:
    (argument,) = node.arguments
    if isinstance(argument, Selector):
        return evaluator.instant(argument, timestamps=True).without_names()
    frame = evaluator.frame_of(argument)
    seconds = np.broadcast_to(evaluator.times / 1000, frame.values.shape)
    return Frame(frame.labels, seconds, frame.present).without_names()


# Elements of vectors


def _clamp(evaluator: Evaluator, node: Call) -> Frame:
    vector, low, high = node.arguments
    return functions.clamp(evaluator.frame_of(vector), evaluator.scalar(low), evaluator.scalar(high))


def _clamp_min(evaluator: Evaluator, node: Call) -> Frame:
    vector, low = node.arguments
    return functions.clamp_min(evaluator.frame_of(vector), evaluator.scalar(low))


def _clamp_max(evaluator: Evaluator, node: Call) -> Frame:
    vector, high = node.arguments
    return functions.clamp_max(evaluator.frame_of(vector), evaluator.scalar(high))


def _round(evaluator: Evaluator, node: Call) -> Frame:
    vector, *nearest = node.arguments
    to = evaluator.scalar(nearest[0]) if nearest else np.ones(evaluator.steps)
    return functions.round_(evaluator.frame_of(vector), to)


def _sort(evaluator: Evaluator, node: Call) -> Frame:
    return functions.sort(evaluator.frame_of(node.arguments[0]), descending=node.name == "sort_desc")


def _sort_by_label(evaluator: Evaluator, node: Call) -> Frame:
    vector, *names = node.arguments
    frame = evaluator.frame_of(vector)
    return functions.sort_by_label(frame, _texts(names), descending=node.name == "sort_by_label_desc")


# Presence


def _absent(evaluator: Evaluator, node: Call) -> Frame:
    (argument,) = node.arguments
    return _absence(evaluator, argument, evaluator.frame_of(argument))


def _absent_over_time(evaluator: Evaluator, node: Call) -> Frame:
    (argument,) = node.arguments
    frame = _over_range(evaluator, "present_over_time", argument, keep_names=True)
    return _absence(evaluator, argument, frame)


def _absence(evaluator: Evaluator, argument: Node, frame: Frame) -> Frame:
    labels: Labels = ()
    if isinstance(argument, RangeSelector):
        argument = argument.selector
    if isinstance(argument, Selector):
        labels = label_functions.absent_labels(argument.matchers)
    missing = np.logical_not(np.any(frame.present, axis=0))
    return Frame((labels,), np.ones((1, evaluator.steps)), missing[None, :])


# Range vectors with parameters


def _quantile_over_time(evaluator: Evaluator, node: Call) -> Frame:
    ratio, vector = node.arguments
    ratios = evaluator.scalar(ratio)

    def function(windows: Windows) -> tuple[Floats, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
        return spread.quantile_over_time(windows, ratios)

    frame = _over_range(evaluator, node.name, vector, function=function)
    histogram.note_ratios(ratios, np.asarray(frame.present.any(axis=0)), evaluator.notes, ratio.start)
    return frame


def _predict_linear(evaluator: Evaluator, node: Call) -> Frame:
    vector, seconds = node.arguments
    ahead = evaluator.scalar(seconds)
    return _over_range(
        evaluator, node.name, vector, function=lambda windows: trend.predict_linear(windows, evaluator.times, ahead)
    )


def _double_exponential_smoothing(evaluator: Evaluator, node: Call) -> Frame:
    vector, *factors = node.arguments
    smoothing, slope = (evaluator.scalar(factor) for factor in factors)
    return _over_range(
        evaluator,
        node.name,
        vector,
        function=lambda windows: trend.double_exponential_smoothing(windows, smoothing, slope),
    )


# Histograms


def _histogram_quantile(evaluator: Evaluator, node: Call) -> Frame:
    ratio, vector = node.arguments
    ratios, frame = evaluator.scalar(ratio), evaluator.frame_of(vector)
    histogram.note_ratios(ratios, np.ones(len(ratios), dtype=np.bool_), evaluator.notes, ratio.start)
    places = histogram.Starts(ratio.start, vector.start)
    return histogram.histogram_quantile(ratios, frame, evaluator.notes, places)


def _histogram_quantiles(evaluator: Evaluator, node: Call) -> Frame:
    vector, label, *ratios = node.arguments
    frame, (name,) = evaluator.frame_of(vector), _texts([label])
    wanted = [(evaluator.scalar(ratio), ratio.start) for ratio in ratios]
    for values, start in wanted:
        histogram.note_ratios(values, np.ones(len(values), dtype=np.bool_), evaluator.notes, start)
    places = histogram.Starts(vector.start, vector.start)
    return histogram.histogram_quantiles([values for values, _ in wanted], name, frame, evaluator.notes, places)


def _histogram_fraction(evaluator: Evaluator, node: Call) -> Frame:
    lower, upper, vector = node.arguments
    bounds = evaluator.scalar(lower), evaluator.scalar(upper)
    places = histogram.Starts(lower.start, vector.start)
    return histogram.histogram_fraction(bounds, evaluator.frame_of(vector), evaluator.notes, places)


# Labels


def _label_replace(evaluator: Evaluator, node: Call) -> Frame:
    vector, *texts = node.arguments
    return label_functions.label_replace(evaluator.frame_of(vector), *_texts(texts))


def _label_join(evaluator: Evaluator, node: Call) -> Frame:
    vector, *texts = node.arguments
    target, separator, *sources = _texts(texts)
    return label_functions.label_join(evaluator.frame_of(vector), target, separator, sources)


def _info(evaluator: Evaluator, node: Call) -> Frame:
    vector, *selector = node.arguments
    matchers = selector[0].matchers if selector and isinstance(selector[0], Selector) else ()
    wanted = info.InfoMatchers.of(matchers)
    series = Selector(wanted.select, 0, None)
    times = evaluator.instant(series, timestamps=True)
    return info.enriched(evaluator.frame_of(vector), times, wanted)


def _texts(nodes: list[Node] | tuple[Node, ...]) -> list[str]:
    return [node.value for node in nodes if isinstance(node, Text)]


_HANDLERS: dict[str, Handler] = {
    "time": lambda evaluator, _: evaluator.times / 1000,
    "pi": _constant(lambda _: np.pi),
    "start": _constant(lambda evaluator: evaluator.bounds_ms[0] / 1000),
    "end": _constant(lambda evaluator: evaluator.bounds_ms[1] / 1000),
    "range": _constant(lambda evaluator: (evaluator.bounds_ms[1] - evaluator.bounds_ms[0]) / 1000),
    "step": _constant(lambda evaluator: evaluator.step_ms / 1000),
    "min_of": _chosen(functions.smaller),
    "max_of": _chosen(functions.larger),
    "vector": lambda evaluator, node: evaluator.vector(evaluator.scalar(node.arguments[0])),
    "scalar": lambda evaluator, node: functions.to_scalar(evaluator.frame_of(node.arguments[0]).floats()),
    "timestamp": _timestamp,
    "clamp": _clamp,
    "clamp_min": _clamp_min,
    "clamp_max": _clamp_max,
    "round": _round,
    "sort": _sort,
    "sort_desc": _sort,
    "sort_by_label": _sort_by_label,
    "sort_by_label_desc": _sort_by_label,
    "absent": _absent,
    "absent_over_time": _absent_over_time,
    "quantile_over_time": _quantile_over_time,
    "predict_linear": _predict_linear,
    "double_exponential_smoothing": _double_exponential_smoothing,
    "histogram_quantile": _histogram_quantile,
    "histogram_quantiles": _histogram_quantiles,
    "histogram_fraction": _histogram_fraction,
    "label_replace": _label_replace,
    "label_join": _label_join,
    "info": _info,
}
SUPPORTED_FUNCTIONS = (
    over_time.BY_NAME
    | frozenset(functions.ELEMENTWISE)
    | functions.CALENDAR
    | frozenset(native_functions.BY_NAME)
    | frozenset(_HANDLERS)
)
