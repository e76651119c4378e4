"""
Errors of the dashboards.

DashboardsError
├── DashboardError   a dashboard's JSON is none, or one that cannot be kept
├── SettingsError    the environment that the viewer was started with is wrong
└── PeerError        a peer did not answer, or refused; with its own words
"""


class DashboardsError(Exception):
    """Base of everything the dashboards raise on purpose."""


class DashboardError(DashboardsError):
    pass


class SettingsError(DashboardsError):
    pass


class PeerError(DashboardsError):
    pass
