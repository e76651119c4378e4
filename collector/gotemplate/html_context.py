"""
What html/template does: values are escaped by where in the page they stand, and comments are left out.

Values in scripts, styles, event handlers and tags are refused: notifications have none, and escaping them wrongly would
open what this is meant to shut. Source: Go html/template (escape.go, html.go, url.go, transition.go).
"""

from __future__ import annotations

import re
from enum import Enum, auto

from collector.gotemplate.goformat import format_value
from collector.gotemplate.values import SafeHtml, SafeUrl

UNSAFE_URL = "#ZgotmplZ"  # what Go puts where a URL of a scheme such as javascript: would have stood

_TEXT = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "+": "&#43;", "\0": "\ufffd"}
)
_SAFE = str.maketrans({"<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "+": "&#43;", "\0": "\ufffd"})
_UNQUOTED = str.maketrans(
    {sign: f"&#{ord(sign)};" for sign in "\t\n\v\f\r \"'+=`"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "&#xfffd;"}
)
_URL_PLAIN = frozenset(b"-._~abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_URL_RESERVED = frozenset(b"!#$&*+,/:;=?@[]")
_HEX_PAIR = re.compile(rb"%[0-9a-fA-F]{2}")
# html/template/attr.go: the attributes that hold URLs; beside them whatever has src, uri or url in its name.
_URL_ATTRIBUTES = frozenset({
    "action", "archive", "background", "cite", "classid", "codebase", "data", "formaction", "href", "icon", "longdesc",
    "manifest", "poster", "profile", "src", "usemap", "xmlns",
})  # fmt: skip
_TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9:-]*)")
_ATTRIBUTE = re.compile(r"""[^\s/>=][^\s/>=]*""")
_RAW = {"script": "script", "style": "style", "textarea": "", "title": ""}  # elements whose content is no HTML
_ANY_TAG = re.compile(r"<[^>]*>")


class _Place(Enum):
    TEXT = auto()
    RAW = auto()  # in one of `_RAW`
    COMMENT = auto()
    TAG = auto()  # between attributes
    NAME = auto()  # behind an attribute's name
    BEFORE_VALUE = auto()  # behind its `=`
    VALUE = auto()


class HtmlWriter:
    """Follows the page as it is written. A `Writer` for one execution."""

    def __init__(self) -> None:
        self._place = _Place.TEXT
        self._element = ""  # the one whose tag is open, or whose raw content this is
        self._attribute = ""
        self._delimiter = ""  # of the value; none: it ends with a space
        self._url = ""  # what the value of this attribute begins with, as far as it is written

    def literal(self, text: str) -> str:
        """The text without comments; a `<` that begins no tag is escaped."""
        out: list[str] = []
        at = 0
        while at < len(text):
            shown, at = self._step(text, at)
            out.append(shown)
        return "".join(out)

    def _step(self, text: str, at: int) -> tuple[str, int]:
        match self._place:
            case _Place.TEXT:
                return self._in_text(text, at)
            case _Place.RAW:
                return self._in_raw(text, at)
            case _Place.COMMENT:
                end = text.find("-->", at)
                if end >= 0:
                    self._place = _Place.TEXT
                return "", len(text) if end < 0 else end + 3
            case _Place.VALUE:
                return self._in_value(text, at)
        return self._in_tag(text, at)

    def _in_text(self, text: str, at: int) -> tuple[str, int]:
        start = text.find("<", at)
        if start < 0:
            return text[at:], len(text)
        before = text[at:start]
        if text.startswith("<!--", start):
            self._place = _Place.COMMENT
            return before, start + 4
        if text[start : start + 9].lower() == "<!doctype":
            return before + text[start : start + 9], start + 9
        tag = _TAG.match(text, start)
        if tag is None:
            return f"{before}&lt;", start + 1
        self._place = _Place.TAG
        self._element = "" if text[start + 1] == "/" else tag[1].lower()
        return before + tag[0], tag.end()

    def _in_raw(self, text: str, at: int) -> tuple[str, int]:
        end = re.compile(rf"</{self._element}", re.IGNORECASE).search(text, at)
        if end is None:
            return text[at:], len(text)
        self._place, self._element = _Place.TAG, ""
        return text[at : end.end()], end.end()

    def _in_tag(self, text: str, at: int) -> tuple[str, int]:
        sign = text[at]
        if sign.isspace() or (sign == "/" and self._place is not _Place.BEFORE_VALUE):
            return sign, at + 1
        if sign == ">":
            self._place = _Place.RAW if self._element in _RAW else _Place.TEXT
            return sign, at + 1
        if self._place is _Place.BEFORE_VALUE:
            self._place, self._url = _Place.VALUE, ""
            self._delimiter = sign if sign in "\"'" else ""
            return self._delimiter, at + len(self._delimiter)
        if sign == "=":
            self._place = _Place.BEFORE_VALUE
            return sign, at + 1
        name = _ATTRIBUTE.match(text, at)
        assert name is not None  # noqa: S101  (all else is met above)
        self._place, self._attribute = _Place.NAME, name[0].lower()
        return name[0], name.end()

    def _in_value(self, text: str, at: int) -> tuple[str, int]:
        end = re.compile(self._delimiter or r"[\s>]").search(text, at)
        stop = len(text) if end is None else end.start()
        self._url += text[at:stop]
        if end is None:
            return text[at:], stop
        self._place = _Place.TAG
        return text[at:stop] + self._delimiter, stop + len(self._delimiter)

    def value(self, value: object, last_function: str | None) -> str:
        """
        A value as it may stand here.

        Args:
            last_function: Of its pipeline; what `html` and `urlquery` escaped is not escaped again.

        Raises:
            ValueError: it stands where no value may.
        """
        text = "" if value is None else format_value(value)
        if self._place is _Place.TEXT:
            return text if isinstance(value, SafeHtml) or last_function == "html" else text.translate(_TEXT)
        if self._place is _Place.COMMENT:
            return ""
        if self._place is _Place.RAW and not _RAW[self._element]:
            return text.translate(_SAFE if isinstance(value, SafeHtml) else _TEXT)
        if self._place is _Place.BEFORE_VALUE:
            self._place, self._url, self._delimiter = _Place.VALUE, "", ""
        if self._place is not _Place.VALUE:
            where = f"in <{self._element}>" if self._element else "in a tag"
            raise ValueError(f"a value {where} is not supported; in text and in values of attributes it is")
        return self._in_attribute(value, text, last_function)

    def _in_attribute(self, value: object, text: str, last_function: str | None) -> str:
        name = self._attribute.removeprefix("data-")
        if name.startswith("on") or name == "style":
            raise ValueError(f"a value in the attribute {self._attribute} is not supported")
        if isinstance(value, SafeHtml):
            text = _ANY_TAG.sub("", text)
        if _holds_url(name):
            text = self._in_url(value, text, last_function)
        table = _SAFE if isinstance(value, SafeHtml) else _TEXT
        return text.translate(table) if self._delimiter else text.translate(_UNQUOTED)

    def _in_url(self, value: object, text: str, last_function: str | None) -> str:
        before, self._url = self._url, self._url or "/"
        if "?" in before or "#" in before:
            return text if last_function == "urlquery" else _percent(text, keep=b"")
        if not before and not isinstance(value, SafeUrl) and not _is_safe_url(text):
            return UNSAFE_URL
        return _percent(text, keep=_URL_RESERVED)


def _holds_url(attribute: str) -> bool:
    name = attribute.rpartition(":")[2] if not attribute.startswith("xmlns:") else "xmlns"
    return name in _URL_ATTRIBUTES or any(part in name for part in ("src", "uri", "url"))


def _is_safe_url(url: str) -> bool:
    scheme, colon, _ = url.partition(":")
    return not colon or "/" in scheme or scheme.lower() in ("http", "https", "mailto")


def _percent(text: str, *, keep: frozenset[int] | bytes) -> str:
    """Percent-encoded. What is encoded already stays if reserved signs do."""
    data = text.encode()
    out: list[str] = []
    for at, byte in enumerate(data):
        encoded = bool(keep) and _HEX_PAIR.match(data, at) is not None
        out.append(chr(byte) if byte in _URL_PLAIN or byte in keep or encoded else f"%{byte:02x}")
    return "".join(out)
