"""
Errors of the dashboards.

DashboardsError
├── DashboardError            a dashboard's JSON is none, or one that cannot be kept
├── DraftError                a new rule file cannot have that name
├── SettingsError             the environment that the viewer was started with is wrong
├── PeerError                 a peer did not answer, or refused; with its own words
├── UsersError                the users file, or what should go into it, cannot be used
└── SignInError               a credential is wrong
    └── TooManyAttemptsError  it was not even looked at: there were too many wrong ones
"""


class DashboardsError(Exception):
    """Base of everything the dashboards raise on purpose."""


class DashboardError(DashboardsError):
    pass


class DraftError(DashboardsError):
    pass


class SettingsError(DashboardsError):
    pass


class PeerError(DashboardsError):
    def __init__(self, message: str, status: int = 0) -> None:
        """
        Args:
            status: HTTP's, of a peer that refused; 0: it did not answer.
        """
        super().__init__(message)
        self.status = status


class UsersError(DashboardsError):
    pass


class SignInError(DashboardsError):
    pass


class TooManyAttemptsError(SignInError):
    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s
