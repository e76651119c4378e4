"""
The users file: names, roles and hashed passwords. One JSON file of mode 0600, written whole or not at all.

    {"users": [{"name": "ada", "role": "operator", "salt": "<hex>", "hash": "<hex>"}]}

A password is kept as scrypt(password, salt); who reads the file cannot sign in with it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dashboards.errors import UsersError
from dashboards.viewer.auth.roles import Role

MAX_FILE_BYTES = 1 << 20  # five thousand users
MIN_PASSWORD, MAX_PASSWORD = 12, 1024  # NIST SP 800-63B asks for 8 with a second factor, 15 without; ours is made
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._@-]{0,63}")
# OWASP's password storage cheat sheet: N=2^14 with r=8 and p=5 costs as much as N=2^17, p=1, in 16 MB instead of 128.
_N, _R, _P, _LENGTH = 1 << 14, 8, 5, 32
_Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{32,128}$")]


class User(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]
    role: Role
    salt: _Hex
    hash: _Hex

    def accepts(self, password: str) -> bool:
        """Takes some 0.1 s of CPU on purpose."""
        return hmac.compare_digest(_hashed(password, bytes.fromhex(self.salt)), bytes.fromhex(self.hash))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    users: Annotated[list[User], Field(max_length=5000)] = []


# Compared with when no user has the name, so that the time of an answer does not tell which names there are.
NOBODY = User(name="nobody", role=Role.VIEWER, salt="00" * 16, hash="00" * _LENGTH)


class Users:
    """The file as it stands: it is read again when it has changed, so a removed user is out at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_at: tuple[int, int] = (0, 0)
        self._users: dict[str, User] = {}

    def get(self, name: str) -> User | None:
        """
        Raises:
            UsersError: the file is not readable, or not a users file.
        """
        return self._all().get(name)

    def all(self) -> list[User]:
        return sorted(self._all().values(), key=lambda user: user.name)

    def _all(self) -> dict[str, User]:
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return {}
        stamp = (stat.st_mtime_ns, stat.st_size)
        if stamp != self._read_at:
            self._users = {user.name: user for user in _read(self.path, stat.st_size).users}
            self._read_at = stamp
        return self._users

    def put(self, name: str, role: Role, password: str = "") -> str:
        """
        Add a user, or give one another role and password. Returns the password: one is made if none is given.

        Raises:
            UsersError: the name or the password cannot be used.
        """
        if not _NAME.fullmatch(name):
            raise UsersError(f"a user's name has 1 to 64 letters, digits or ._@-, got {name[:80]!r}")
        password = password or secrets.token_urlsafe(24)
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise UsersError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters, got {len(password)}")
        salt = secrets.token_bytes(16)
        user = User(name=name, role=role, salt=salt.hex(), hash=_hashed(password, salt).hex())
        self._write({**self._all(), name: user})
        return password

    def remove(self, name: str) -> bool:
        """False if there is none of that name."""
        left = {**self._all()}
        if left.pop(name, None) is None:
            return False
        self._write(left)
        return True

    def _write(self, users: dict[str, User]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"users": [user.model_dump(mode="json") for user in users.values()]}, indent=1) + "\n"
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")  # of mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _read(path: Path, size: int) -> _File:
    if size > MAX_FILE_BYTES:
        raise UsersError(f"{path}: {size} bytes, the limit is {MAX_FILE_BYTES}")
    try:
        return _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsersError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsersError(f"{path}: not a users file: {where}: {first['msg']}") from error


def _hashed(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, dklen=_LENGTH, maxmem=64 << 20)
