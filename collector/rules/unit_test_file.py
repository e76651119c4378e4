"""
promtool's unit-test files: from text to checked values.

Scalars are read as they are written, as Go does: `exp_labels: {code: 0500}` is the text 0500.
Source: prometheus/cmd/promtool/unittest.go.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from collector.errors import ConfigError
from collector.model.duration import parse_duration_ms

MAX_FILE_BYTES = 16 << 20  # as for rule files
MAX_DEPTH = 100  # of nested YAML; a unit-test file has six levels
DEFAULT_INTERVAL_MS = 60_000

_FLOAT = re.compile(r"[+-]?(\.\d+|\d+(\.\d*)?)([eE][+-]?\d+)?")
_SPECIAL = {".nan": "nan", ".inf": "inf", "+.inf": "inf", "-.inf": "-inf"}
_TRUE, _FALSE = {"true", "yes", "on", "y"}, {"false", "no", "off", "n"}


def _duration_ms(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError("a duration such as 1m is needed")
    return parse_duration_ms(value)


def _float(value: object) -> float:
    """YAML's floats: `NaN` and `Inf` without the dot are texts to it, and refused."""
    text = str(value).replace("_", "")
    if (special := _SPECIAL.get(text.lower())) is not None:
        return float(special)
    if _FLOAT.fullmatch(text):
        return float(text)
    if re.fullmatch(r"[+-]?0[xob][0-9a-fA-F]+", text):
        return float(int(text, 0))
    raise ValueError(f"cannot unmarshal !!str {text!r} into float64")


def _bool(value: object) -> bool:
    text = str(value).lower()
    if text not in _TRUE | _FALSE:
        raise ValueError(f"cannot unmarshal {text!r} into bool")
    return text in _TRUE


def _start_ms(value: object) -> int:
    """Unix seconds or RFC 3339."""
    text = str(value)
    if _FLOAT.fullmatch(text):
        return round(float(text) * 1000)
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"start_timestamp {text!r} is neither Unix seconds nor RFC 3339") from None
    if moment.tzinfo is None:
        raise ValueError(f"start_timestamp {text!r} has no time zone")
    return round(moment.timestamp() * 1000)


DurationMs = Annotated[int, BeforeValidator(_duration_ms)]
Number = Annotated[float, BeforeValidator(_float)]
Flag = Annotated[bool, BeforeValidator(_bool)]
StartMs = Annotated[int, BeforeValidator(_start_ms)]
Texts = Annotated[
    dict[str, str],
    BeforeValidator(
        lambda value: {key: item or "" for key, item in value.items()} if isinstance(value, dict) else value
    ),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        """`exp_alerts:` and nothing after it is as if it were not there."""
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class InputSeries(_Part):
    series: str = ""
    values: str = ""


class ExpectedAlert(_Part):
    exp_labels: Texts = {}
    exp_annotations: Texts = {}


class AlertCase(_Part):
    eval_time: DurationMs = 0
    alertname: str = ""
    exp_alerts: tuple[ExpectedAlert, ...] = ()


class ExpectedSample(_Part):
    labels: str = ""
    value: Number = 0.0
    histogram: str = ""


class ExprCase(_Part):
    expr: str = ""
    eval_time: DurationMs = 0
    exp_samples: tuple[ExpectedSample, ...] = ()


class TestGroup(_Part):
    __test__ = False  # not one of pytest's own

    interval: DurationMs = 0  # between the values of the input series; 0: the file's evaluation interval
    input_series: tuple[InputSeries, ...] = ()
    alert_rule_test: tuple[AlertCase, ...] = ()
    promql_expr_test: tuple[ExprCase, ...] = ()
    external_labels: Texts = {}
    external_url: str = ""
    name: str = ""
    start_timestamp: StartMs = 0

    @property
    def last_ms(self) -> int:
        """The latest time that is asked for, from the start of the test."""
        times = [case.eval_time for case in self.alert_rule_test] + [case.eval_time for case in self.promql_expr_test]
        return max(times, default=0)


class UnitTestFile(_Part):
    rule_files: tuple[str, ...] = ()
    evaluation_interval: DurationMs = 0
    group_eval_order: tuple[str, ...] = ()
    tests: tuple[TestGroup, ...] = ()
    fuzzy_compare: Flag = Field(default=False)  # floats that are neighbours count as equal

    @property
    def interval_ms(self) -> int:
        return self.evaluation_interval or DEFAULT_INTERVAL_MS


def load(path: Path) -> UnitTestFile:
    """
    Raises:
        ConfigError: names the file and every key that is wrong.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path}: file size {path.stat().st_size} exceeds the limit of {MAX_FILE_BYTES} bytes")
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        data = {} if root is None else _plain(root, MAX_DEPTH)
        return UnitTestFile.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in _problems(error))) from None
    except yaml.MarkedYAMLError as error:
        where = f"{error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{path}: {where}yaml: {error.problem}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _plain(node: yaml.Node, depth: int) -> Any:
    """A YAML tree as dictionaries, lists and texts. Null is None; merge keys are merged; a key twice is an error."""
    if depth == 0:
        raise ValueError(f"line {node.start_mark.line + 1}: yaml nested deeper than {MAX_DEPTH} levels")
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, depth - 1) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)
    merged: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for source in sources:
                merged = _plain(source, depth - 1) | merged
        elif str(key.value) in own:
            raise ValueError(f"line {key.start_mark.line + 1}: key {key.value!r} already set in map")
        else:
            own[str(key.value)] = _plain(value, depth - 1)
    return merged | own


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(".")
        what = "field not found" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        lines.append(f"{where or 'the file'}: {what}")
    return lines
