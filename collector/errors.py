"""
Errors of the collector.

    CollectorError
    ├── BadRequestError       reject: what was sent can never be accepted
    ├── UnsupportedError      reject: valid, but not built; the message names what
    ├── LimitExceededError    reject: over a stated limit; the message gives it
    ├── TemporaryError        retry after a while
    └── ConfigError           a configuration or rule file is wrong; the message names file and line
"""

from __future__ import annotations


class CollectorError(Exception):
    """The base of all errors that the collector raises on purpose."""


class BadRequestError(CollectorError):
    """What was sent can never be accepted."""


class UnsupportedError(CollectorError):
    """Valid, but not built."""


class LimitExceededError(CollectorError):
    """Over a stated limit."""


class TemporaryError(CollectorError):
    """Cannot be done now; retry after a while."""


class ConfigError(CollectorError):
    """A configuration or rule file is wrong."""
