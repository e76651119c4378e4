"""
The section `redaction` of the configuration file.

    redaction:
      defaults: true                    # credentials by name and form, the passwords of URLs
      card_numbers: true
      keys: ['(?i)^customer\\.iban$']    # RE2; the whole value of such an attribute is masked
      values: ['\\b(DE\\d{20})\\b']     # RE2; what matches, or its group where there is one, is masked
"""

from __future__ import annotations

import re2
from pydantic import BaseModel, ConfigDict, Field, field_validator

from collector.pipeline.redaction import DEFAULT_KEYS, DEFAULT_VALUES, Rules

MAX_PATTERNS = 100  # of each kind; all are looked for in one pass, whose automaton grows with them
_MAX_GROUPS = 1


class RedactionConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    defaults: bool = True
    card_numbers: bool = True
    keys: list[str] = Field(default_factory=list, max_length=MAX_PATTERNS)
    values: list[str] = Field(default_factory=list, max_length=MAX_PATTERNS)

    @field_validator("keys", "values")
    @classmethod
    def _usable(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                compiled = re2.compile(pattern)
            except re2.error as error:
                raise ValueError(f"pattern {pattern!r} is not RE2: {error}") from error
            if compiled.search(""):
                raise ValueError(f"pattern {pattern!r} matches the empty text")
            if compiled.groups > _MAX_GROUPS:
                raise ValueError(f"pattern {pattern!r} has {compiled.groups} groups, at most {_MAX_GROUPS}; use (?:")
            # Many texts are searched at once, of which these would see but the first and the last.
            if any(anchor in pattern for anchor in ("\\A", "\\z", "(?-m")):
                raise ValueError(f"pattern {pattern!r}: use ^ and $ for the edges of the text")
        return patterns

    def rules(self) -> Rules | None:
        """None: nothing is redacted."""
        keys = (*(DEFAULT_KEYS if self.defaults else ()), *self.keys)
        values = (*(DEFAULT_VALUES if self.defaults else ()), *self.values)
        return Rules(keys, values, self.card_numbers) if keys or values or self.card_numbers else None
