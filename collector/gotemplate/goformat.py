"""Values as Go prints them, for templates: `%v` of a float, and the verbs of printf that alerts use."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from collector.gotemplate.values import Struct, method_of
from collector.model.text import quote

# Go's type names, as its error texts show them ("%!d(float64=1.5)").
_TYPE_NAMES = {
    bool: "bool",
    int: "int",
    float: "float64",
    str: "string",
    dict: "map[string]string",
    list: "[]interface {}",
}
_VERB = re.compile(r"%([-+# 0]*)(\d+)?(?:\.(\d*))?([a-zA-Z%])")
_NOT_FINITE = {math.inf: "+Inf", -math.inf: "-Inf"}


def type_name(value: object) -> str:
    if isinstance(value, Struct):
        return value.go_type
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def not_finite(value: float) -> str | None:
    return "NaN" if math.isnan(value) else _NOT_FINITE.get(value)


def format_float(value: float) -> str:
    """
    The shortest text that reads back as `value`, with an exponent below -4 and from 6 on, e.g. `1e+06`.

    Source: Go strconv/ftoa.go, format 'g' with the shortest precision, which is what %v of a float64 is.
    """
    if (text := not_finite(value)) is not None:
        return text
    mantissa, _, exponent = f"{value!r}".partition("e")
    digits = mantissa.removeprefix("-").replace(".", "")
    if not digits.strip("0"):
        return "-0" if math.copysign(1, value) < 0 else "0"
    point = mantissa.removeprefix("-").find(".")
    shift = (point if point >= 0 else len(digits)) + int(exponent or 0)
    stripped = digits.lstrip("0")
    shift -= len(digits) - len(stripped)
    stripped = stripped.rstrip("0")
    sign = "-" if value < 0 else ""
    if not -4 <= shift - 1 < 6:
        tail = f".{stripped[1:]}" if len(stripped) > 1 else ""
        return f"{sign}{stripped[0]}{tail}e{shift - 1:+03d}"
    if shift <= 0:
        return f"{sign}0.{'0' * -shift}{stripped}"
    whole, part = stripped[:shift].ljust(shift, "0"), stripped[shift:]
    return f"{sign}{whole}.{part}" if part else sign + whole


def format_exponent(value: float) -> str:
    """strconv.FormatFloat(value, 'e', -1, 64): how Prometheus writes an alert's value in its API."""
    if (text := not_finite(value)) is not None:
        return text
    # 17 significant digits always suffice; the fewest that read back are wanted.
    return next(text for digits in range(17) if float(text := f"{value:.{digits}e}") == value)


def format_value(value: object) -> str:
    """Go's %v."""
    if value is None:
        return "<no value>"
    if method_of(value, "String") is not None:
        return str(value)
    if isinstance(value, Struct):
        return f"{{{' '.join(format_value(item) for item in value.values())}}}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{name}:{format_value(value[name])}' for name in sorted(value))}]"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{' '.join(format_value(item) for item in value)}]"
    return str(value)


def sprintf(template: str, arguments: Sequence[object]) -> str:
    """
    Go's fmt.Sprintf for the verbs v s d q f F e g t x X and %%, with flags, width and precision.

    A verb that does not fit its argument yields Go's text (`%!d(float64=1.5)`), never an error.
    """
    rest = list(arguments)

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        return _pad(_convert(verb, rest.pop(0), flags, precision), flags, int(width or 0))

    text = _VERB.sub(one, template)
    if rest:
        text += f"%!(EXTRA {', '.join(f'{type_name(item)}={format_value(item)}' for item in rest)})"
    return text


def _pad(text: str, flags: str, width: int) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and text[-1:].isalnum():
        return text.zfill(width)
    return text.rjust(width)


def _convert(verb: str, value: object, flags: str, precision: str | None) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    plus = "+" if "+" in flags else ""
    if verb in "feFEgG" and isinstance(value, float):
        text = not_finite(value) or _float_verb(verb, value, precision)
        return text if text.startswith(("-", "+")) else plus + text
    if verb == "v":
        return (plus if number and value >= 0 else "") + format_value(value)  # type: ignore[operator]
    if verb == "d" and isinstance(value, int) and not isinstance(value, bool):
        return f"{value:{plus}d}"
    if verb in "sq" and isinstance(value, str):
        text = value if precision is None else value[: int(precision or 0)]
        return quote(text) if verb == "q" else text
    if verb in "xX" and isinstance(value, int | str) and not isinstance(value, bool):
        text = f"{value:x}" if isinstance(value, int) else value.encode().hex()
        return text.upper() if verb == "X" else text
    if verb == "t" and isinstance(value, bool):
        return format_value(value)
    if verb == "s" and isinstance(value, dict | list):
        return format_value(value)
    return f"%!{verb}({type_name(value)}={format_value(value)})"


def _float_verb(verb: str, value: float, precision: str | None) -> str:
    if verb in "gG" and precision is None:
        return format_float(value)
    digits = 6 if precision is None else int(precision or 0)
    return f"{value:.{digits}{verb}}"
