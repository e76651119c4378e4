"""
DrillError (a RemediationError)   the drill could not be run at all (exit code 2)
├── DefinitionError        the YAML is not a drill; the message names file and key
├── UnknownDrillError      no definition of that name
├── UnknownReportError     no such report, or not a report
├── DrillRunningError      another drill holds the lock of this data directory
├── StackUnreachableError  a part of the stack does not answer; the message names the URL and what sets it
├── BrokenAnswerError      a part answered with what it should not have said, or not at all; it may be better next time
└── RefusedError           the stack answered, and refused (4xx): asking again will not help

A drill that ran and did not meet its expectations is no error: it is a report whose verdict is FAIL.
"""

from __future__ import annotations

from remediation.errors import RemediationError


class DrillError(RemediationError):
    pass


class DefinitionError(DrillError):
    pass


class UnknownDrillError(DrillError):
    pass


class UnknownReportError(DrillError):
    pass


class DrillRunningError(DrillError):
    pass


class StackUnreachableError(DrillError):
    pass


class RefusedError(DrillError):
    pass


class BrokenAnswerError(DrillError):
    pass
