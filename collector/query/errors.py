"""
Errors of the query engine.

    BadRequestError
    └── ParseError            the expression is not PromQL; carries the position
    CollectorError
    ├── ExecutionError        a valid expression that these series cannot answer (duplicate labelsets, bad matching)
    ├── QueryTimeoutError     the evaluation, or the wait for it, took longer than the caller allowed
    └── QueryCancelledError   whoever asked has gone away
    LimitExceededError
    └── TooManySamplesError   more samples than the engine's limit

Source of the texts: prometheus/promql/engine.go and promql/parser/parse.go.
"""

from __future__ import annotations

from collector.errors import BadRequestError, CollectorError, LimitExceededError


class ParseError(BadRequestError):
    """The expression is not PromQL. `line` and `column` count from 1; the message begins with them."""

    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(f"{line}:{column}: parse error: {reason}")
        self.line = line
        self.column = column
        self.reason = reason


class ExecutionError(CollectorError):
    """The expression is valid, but has no answer over these series."""


class QueryTimeoutError(CollectorError):
    """The evaluation took longer than it was allowed to. `stage` as Prometheus names it: `query queue` is the wait."""

    def __init__(self, stage: str = "expression evaluation") -> None:
        super().__init__(f"query timed out in {stage}")


class QueryCancelledError(CollectorError):
    """Nobody waits for the answer any more."""

    def __init__(self) -> None:
        super().__init__("query was canceled in expression evaluation")


class TooManySamplesError(LimitExceededError):
    """The evaluation would hold more samples than the engine's limit."""

    def __init__(self) -> None:
        super().__init__("query processing would load too many samples into memory in query execution")
