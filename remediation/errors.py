"""
The worker's errors, split by what the caller does about them.

RemediationError
├── PolicyError               a policy file is wrong: fix the file; names file and key
│   └── TemplateError         a template names what is not there, or puts a value where it could be PromQL
├── RequestError              what a person asked for cannot be begun; names the field
├── SettingsError             the environment the worker was started with is wrong
├── TelemetryError            Prometheus could not answer
│   ├── TemporaryTelemetryError   unreachable, overloaded: ask again
│   └── PermanentTelemetryError   it understood and refused: the query is wrong
├── LeaseLostError            other workers count this one as dead: it must not write any more, but end
└── ScalerError               what holds the replicas (or versions, weights, flags) could not answer
    ├── TemporaryScalerError      unreachable, overloaded: try again
    ├── PermanentScalerError      unknown service, number out of bounds, wrong token: trying again changes nothing
    └── ConflictError             somebody else has changed it since it was looked at; it is left as it is
"""


class RemediationError(Exception):
    """Base of everything the worker raises on purpose."""


class PolicyError(RemediationError):
    pass


class TemplateError(PolicyError):
    pass


class RequestError(RemediationError):
    pass


class SettingsError(RemediationError):
    pass


class TelemetryError(RemediationError):
    pass


class TemporaryTelemetryError(TelemetryError):
    pass


class PermanentTelemetryError(TelemetryError):
    pass


class LeaseLostError(RemediationError):
    pass


class ScalerError(RemediationError):
    pass


class TemporaryScalerError(ScalerError):
    pass


class PermanentScalerError(ScalerError):
    pass


class ConflictError(ScalerError):
    pass
