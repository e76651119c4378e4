"""
What can go wrong in the command line, the stack and the orchestrator.

    SteersmanError
    ├── StackError                 `steersman up` and its kin cannot do what was asked
    │   ├── AlreadyRunningError    another supervisor holds this data directory
    │   ├── NotRunningError        no supervisor holds this data directory
    │   ├── PortsTakenError        something else listens where the stack wants to
    │   ├── ServicesFileError      the services file does not say what it must
    │   ├── StartError             a part did not become ready in time
    │   └── PeerError              a part of the running stack did not answer as it should
    ├── ArchiveError               a folder cannot be exported into, or imported
    └── OrchestratorError          a request to the orchestrator is refused; nothing changed
        ├── UnknownServiceError
        ├── UnknownInstanceError
        ├── OutOfBoundsError       a number outside its bounds, a version or zone that there is not
        ├── ConflictError          somebody else has changed it since the caller looked
        └── NoFreePortError        every port set aside for replicas is in use
"""

from __future__ import annotations


class SteersmanError(Exception):
    """The message is one clear line for the user."""


class StackError(SteersmanError):
    pass


class AlreadyRunningError(StackError):
    pass


class NotRunningError(StackError):
    pass


class PortsTakenError(StackError):
    pass


class ServicesFileError(StackError):
    pass


class StartError(StackError):
    pass


class PeerError(StackError):
    pass


class ArchiveError(SteersmanError):
    pass


class OrchestratorError(SteersmanError):
    pass


class UnknownServiceError(OrchestratorError):
    pass


class UnknownInstanceError(OrchestratorError):
    pass


class OutOfBoundsError(OrchestratorError):
    pass


class ConflictError(OrchestratorError):
    pass


class NoFreePortError(OrchestratorError):
    pass
