"""
The templates of notifications: files of `templates`, and texts of receivers that use them.

Source: alertmanager/template/template.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from glob import glob  # patterns of users are absolute or relative, which Path.glob does not take
from pathlib import Path
from urllib.parse import unquote_plus
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from collector.alerts.default_templates import DEFAULT_TEMPLATES
from collector.alerts.template_data import to_json
from collector.errors import ConfigError
from collector.gotemplate.builtins import BUILTINS, Function
from collector.gotemplate.execution import Execution, PlainWriter, TooLongError
from collector.gotemplate.goformat import type_name
from collector.gotemplate.gotime import GoDuration, GoTime
from collector.gotemplate.html_context import HtmlWriter
from collector.gotemplate.humanize import humanize_duration
from collector.gotemplate.parser import parse
from collector.gotemplate.text_functions import TEXT_FUNCTIONS, text_of
from collector.gotemplate.tree import Branch, Invoke, Node, Parsed, TemplateError, Text
from collector.gotemplate.values import SafeUrl, Struct

MAX_TEMPLATE_BYTES = 1024 * 1024  # of one file; the longest published collections have a tenth
MAX_TEXT_CHARS = 16_000  # beyond, services cut or refuse; the title still says how many alerts there are
MAX_HTML_CHARS = 1_000_000  # a mail of a thousand alerts
_WORD = re.compile(r"[^\W_]+(?:[_'.’:]+[^\W_]+)*")  # as cases.Title splits a text: don't and a.b are one word each


class NotificationTemplates:
    """
    Args:
        files: Names, without folders, and contents; later ones override what earlier ones and the defaults define.

    Raises:
        TemplateError: one does not parse.
    """

    __slots__ = ("_templates",)

    def __init__(self, files: Iterable[tuple[str, str]] = ()) -> None:
        self._templates: dict[str, tuple[Node, ...]] = dict(_defaults().templates)
        for name, text in files:
            parsed = _parsed(text, name)
            for defined, nodes in (parsed.templates | {name: parsed.nodes}).items():
                if not _is_empty(nodes) or defined not in self._templates:
                    self._templates[defined] = nodes

    @classmethod
    def load(cls, patterns: Sequence[str], directory: Path | None) -> NotificationTemplates:
        """
        Those of all files that match; a pattern may match none.

        Raises:
            ConfigError: names the file and what is wrong.
        """
        files: list[tuple[str, str]] = []  # two folders may each have one of the same name
        for pattern in patterns:
            for found in sorted(glob(str(Path(directory or ".", pattern)))):  # noqa: PTH207
                path = Path(found)
                text = _content(path)
                try:
                    _parsed(text, path.name)
                except TemplateError as error:
                    raise ConfigError(f"template file {path}: {error}") from None
                files.append((path.name, text))
        return cls(files)

    def check(self, text: str) -> None:
        """
        Whether a text of a receiver can be expanded, as far as that is known beforehand.

        Raises:
            TemplateError: it does not parse, or uses a template that nobody defines.
        """
        parsed = _parsed(text, "")
        templates = self._templates | parsed.templates
        seen: set[str] = set()
        left = list(_invoked(parsed.nodes))
        while left:
            name = left.pop()
            if name not in templates:
                raise TemplateError(f'template "{name}" not defined')
            if name not in seen:
                seen.add(name)
                left += _invoked(templates[name])

    def text(self, text: str, data: Struct, *, now_ms: int) -> str:
        """
        Args:
            data: From `template_data`.

        Raises:
            TemplateError: it cannot be expanded.
        """
        return self._expanded(text, data, now_ms, html=False)

    def html(self, text: str, data: Struct, *, now_ms: int) -> str:
        """As `text`, with values escaped for HTML."""
        return self._expanded(text, data, now_ms, html=True)

    def _expanded(self, text: str, data: Struct, now_ms: int, *, html: bool) -> str:
        if "{{" not in text:
            return text
        parsed = _parsed(text, "")
        execution = Execution(
            "",
            self._templates | parsed.templates,
            functions(now_ms),
            max_chars=MAX_HTML_CHARS if html else MAX_TEXT_CHARS,
            writer=HtmlWriter() if html else PlainWriter(),
        )
        try:
            return execution.run(parsed.nodes, data)
        except TooLongError as error:
            return f"{error.text[: MAX_HTML_CHARS if html else MAX_TEXT_CHARS]}\n…"
        except (RecursionError, OverflowError) as error:
            raise TemplateError(str(error)) from error


@lru_cache(maxsize=256)  # receivers use the same few at every notification
def _parsed(text: str, name: str) -> Parsed:
    return parse(text, FUNCTION_NAMES, name=name)


def _defaults() -> Parsed:
    return _parsed(DEFAULT_TEMPLATES, "default.tmpl")


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TEMPLATE_BYTES + 1)
        if len(content) > MAX_TEMPLATE_BYTES:
            raise ConfigError(f"template file {path}: larger than the limit of {MAX_TEMPLATE_BYTES} bytes")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"template file {path}: {error}") from error


def _is_empty(nodes: Sequence[Node]) -> bool:
    """An empty definition does not override one that is not (Go's text/template, associate)."""
    return all(isinstance(node, Text) and not node.text.strip() for node in nodes)


def _invoked(nodes: Sequence[Node]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Invoke):
            yield node.name
        elif isinstance(node, Branch):
            yield from _invoked(node.body)
            yield from _invoked(node.otherwise)


def _title(text: object) -> str:
    """Unlike Prometheus's `title` it makes the other letters small."""

    def word(match: re.Match[str]) -> str:
        small = match[0].lower()
        first = next((at for at, sign in enumerate(small) if sign.isalpha()), 0)
        return small[:first] + small[first:].capitalize()

    return _WORD.sub(word, text_of(text))


def _join(separator: object, texts: object) -> str:
    if not isinstance(texts, list):
        raise ValueError(f"wrong type for value; expected []string; got {type_name(texts)}")
    return text_of(separator).join(map(text_of, texts))


def _time(value: object) -> GoTime:
    if not isinstance(value, GoTime):
        raise ValueError(f"wrong type for value; expected time.Time; got {type_name(value)}")
    return value


def _in_zone(name: object, time: object) -> GoTime:
    try:
        return GoTime(_time(time).unix_nano, ZoneInfo(text_of(name) or "UTC"))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name}") from error


def functions(now_ms: int) -> Mapping[str, Function]:
    """
    All functions by name.

    Args:
        now_ms: When the notification is made, for `since`.
    """
    return {
        **BUILTINS,
        **TEXT_FUNCTIONS,
        "title": _title,
        "trimSpace": lambda text: text_of(text).strip(),
        "join": _join,
        "stringSlice": lambda *texts: list(map(text_of, texts)),
        "safeUrl": lambda text: SafeUrl(text_of(text)),
        "urlUnescape": lambda text: unquote_plus(text_of(text)),
        "date": lambda layout, time: _time(time).format(layout),
        "tz": _in_zone,
        "since": lambda time: GoDuration(now_ms * 1_000_000 - _time(time).unix_nano),
        "humanizeDuration": humanize_duration,
        "toJson": to_json,
    }


FUNCTION_NAMES = frozenset(functions(0))
