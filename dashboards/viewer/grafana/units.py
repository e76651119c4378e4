"""
Values with their units, as Grafana writes them.

Source: packages/grafana-data/src/valueFormats of Grafana: the ids, the factors, the names.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_IEC = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SI = ("", "K", "Mil", "Bil", "Tri", "Quadr")
_METRIC = ("", "k", "M", "G", "T", "P", "E")
_TIMES = ((60.0, 1.0, "s"), (3600.0, 60.0, "min"), (86400.0, 3600.0, "hour"), (604800.0, 86400.0, "day"))
_SUFFIXES = {
    "reqps": " req/s",
    "ops": " ops/s",
    "rps": " reads/s",
    "wps": " writes/s",
    "iops": " io/s",
    "cps": " c/s",
    "eps": " evt/s",
    "mps": " msg/s",
    "recps": " rec/s",
    "pps": " p/s",
    "hertz": " Hz",
    "celsius": " °C",
    "fahrenheit": " °F",
    "volt": " V",
    "amp": " A",
    "watt": " W",
}


def format_value(value: float | None, unit: str = "", decimals: int | None = None) -> str:
    """`decimals` None: as many as three digits need."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    match unit:
        case "s" | "dtdurations" | "clockms":
            return _seconds(value, decimals)
        case "ms":
            return _seconds(value / 1000, decimals)
        case "µs":
            return _seconds(value / 1e6, decimals)
        case "ns":
            return _seconds(value / 1e9, decimals)
        case "m":
            return _seconds(value * 60, decimals)
        case "h":
            return _seconds(value * 3600, decimals)
        case "percent":
            return f"{_digits(value, decimals)}%"
        case "percentunit":
            return f"{_digits(value * 100, decimals)}%"
        case "bytes" | "kbytes" | "mbytes" | "gbytes" | "bits":
            factor = {"kbytes": 1024.0, "mbytes": 1024.0**2, "gbytes": 1024.0**3}.get(unit, 1.0)
            return _scaled(value * factor, 1024.0, _IEC, decimals, " ").replace("B", "b" if unit == "bits" else "B")
        case "decbytes":
            return _scaled(value, 1000.0, tuple(f"{prefix}B" for prefix in _METRIC), decimals, " ")
        case "Bps" | "binBps":
            return _scaled(value, 1024.0, tuple(f"{name}/s" for name in _IEC), decimals, " ")
        case "bps" | "binbps":
            return _scaled(value, 1000.0, tuple(f"{prefix}b/s" for prefix in _METRIC), decimals, " ")
        case "bool":
            return "True" if value else "False"
        case "bool_yes_no":
            return "Yes" if value else "No"
        case "bool_on_off":
            return "On" if value else "Off"
        case "none" | "":
            return _digits(value, decimals)
        case "short" | "locale":
            return _scaled(value, 1000.0, _SI, decimals, " ").strip()
    if unit in _SUFFIXES:
        return _scaled(value, 1000.0, ("", "K", "M", "G"), decimals, "") + _SUFFIXES[unit]
    if unit.startswith("suffix:"):
        return _digits(value, decimals) + unit.removeprefix("suffix:")
    if unit.startswith("prefix:"):
        return unit.removeprefix("prefix:") + _digits(value, decimals)
    return f"{_digits(value, decimals)} {unit}"


def formatter(unit: str, decimals: int | None = None) -> Callable[[float | None], str]:
    return lambda value: format_value(value, unit, decimals)


def _digits(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{max(0, min(12, decimals))}f}"
    if value == 0 or (value == round(value) and abs(value) < 1e6):
        return f"{value:.0f}"
    places = max(0, min(9, 2 - math.floor(math.log10(abs(value)))))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(value: float, base: float, names: tuple[str, ...], decimals: int | None, gap: str) -> str:
    power = 0
    while abs(value) >= base and power < len(names) - 1:
        value, power = value / base, power + 1
    return f"{_digits(value, decimals)}{gap}{names[power]}"


def _seconds(value: float, decimals: int | None) -> str:
    size = abs(value)
    if size == 0:
        return "0 s"
    for below, factor, name in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms")):
        if size < below:
            return f"{_digits(value * factor, decimals)} {name}"
    for below, divisor, name in _TIMES:
        if size < below:
            plural = "s" if name in ("hour", "day") and round(value / divisor, 2) != 1 else ""
            return f"{_digits(value / divisor, decimals)} {name}{plural}"
    return f"{_digits(value / 604800.0, decimals)} weeks"
