"""Bearer tokens: made once, kept in files only their owner can read, compared in constant time."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

# 32 random bytes, the size RFC 6750's examples and NIST SP 800-63B ask of a secret that is never typed.
TOKEN_BYTES = 32


class EmptyTokenError(ValueError):
    """The token file is empty: an empty token would let everybody in."""


def ensure_token(path: Path) -> str:
    """
    The token in `path`; made there if the file does not exist yet. Either way its mode is 0600 afterwards.

    Raises:
        EmptyTokenError
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)  # it may have been copied here, or restored from a backup
        return read_token(path)
    with os.fdopen(handle, "w") as file:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        file.write(token + "\n")
    return token


def read_token(path: Path) -> str:
    """
    Raises:
        FileNotFoundError: no such file.
        EmptyTokenError
    """
    token = path.read_text().strip()
    if not token:
        raise EmptyTokenError(f"token file {path} is empty")
    return token


def bearer_matches(header: str | None, token: str) -> bool:
    """Whether an `Authorization` header carries `token`. The scheme is case-insensitive (RFC 9110, 11.1)."""
    scheme, _, presented = (header or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(presented.strip().encode(), token.encode())
