"""
The shop's errors, split by what the caller should do.

ShopError
├── ConfigurationError      the environment is wrong: do not start
├── RejectedError           the request cannot be granted as it is (4xx)
│   ├── NotFoundError         404
│   ├── ConflictError         409
│   ├── PaymentDeclinedError  402
│   └── ReusedKeyError        422: an idempotency key that was used for another request
├── PeerError               a service behind us gave an answer that we cannot use (502)
└── TemporaryError          try again after `retry_after_s` (503)
    ├── BusUnavailableError
    ├── DatabaseUnavailableError
    ├── PeerUnavailableError
    └── PoolTimeoutError
"""

from __future__ import annotations


class ShopError(Exception):
    """Base of all of the shop's errors. `status` is the HTTP status that it is answered with."""

    status = 500


class ConfigurationError(ShopError):
    pass


class RejectedError(ShopError):
    status = 400


class NotFoundError(RejectedError):
    status = 404


class ConflictError(RejectedError):
    status = 409


class PaymentDeclinedError(RejectedError):
    status = 402


class ReusedKeyError(RejectedError):
    status = 422


class PeerError(ShopError):
    status = 502


class TemporaryError(ShopError):
    status = 503

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BusUnavailableError(TemporaryError):
    pass


class DatabaseUnavailableError(TemporaryError):
    pass


class PeerUnavailableError(TemporaryError):
    pass


class PoolTimeoutError(TemporaryError):
    pass
