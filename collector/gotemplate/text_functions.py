"""Functions of texts that Prometheus's and Alertmanager's templates share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import re2

from collector.gotemplate.goformat import type_name
from collector.gotemplate.values import SafeHtml


def text_of(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"wrong type for value; expected string; got {type_name(value)}")
    return value


@lru_cache(maxsize=256)  # templates use the same few at every evaluation
def _compiled(pattern: str) -> Any:  # re2 has no types
    """
    Raises:
        ValueError: worded as Go words it.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"error parsing regexp: {text}") from error


def re_replace_all(pattern: object, replacement: object, text: object) -> str:
    """Go's ReplaceAllString: `$1`, `${1}` and `$name` refer to groups, `$$` is a dollar sign."""
    wanted = text_of(replacement)

    def expand(match: Any) -> str:
        def group(reference: re.Match[str]) -> str:
            name = reference[1] or reference[2]
            if name is None:
                return "$"
            try:
                return match.group(int(name) if name.isdigit() else name) or ""
            except (IndexError, KeyError):
                return ""

        return re.sub(r"\$(?:\{(\w+)\}|(\w+)|\$)", group, wanted)

    return str(_compiled(text_of(pattern)).sub(expand, text_of(text)))


def re_match(pattern: object, text: object) -> bool:
    return _compiled(text_of(pattern)).search(text_of(text)) is not None


def title(text: object) -> str:
    """The first letter of each word in capitals; the others stay."""
    return re.sub(r"(?<!\w)([^\W\d_])", lambda match: match[1].upper(), text_of(text))


# Alike in Prometheus and Alertmanager.
TEXT_FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "reReplaceAll": re_replace_all,
    "match": re_match,
    "toUpper": lambda text: text_of(text).upper(),
    "toLower": lambda text: text_of(text).lower(),
    "safeHtml": lambda text: SafeHtml(text_of(text)),
}
