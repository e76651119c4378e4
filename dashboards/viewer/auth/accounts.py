"""Credentials to identities: the stack's own token, users with passwords, and the sessions they open."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from dashboards.errors import SignInError, TooManyAttemptsError, UsersError
from dashboards.viewer.auth.attempts import Attempts
from dashboards.viewer.auth.roles import Identity, Role
from dashboards.viewer.auth.sessions import Session, Sessions
from dashboards.viewer.auth.users import NOBODY, User, Users
from steersman.runtime.tokens import bearer_matches

log = logging.getLogger(__name__)
OWNER = "admin"  # who signs in with the stack's own token, unless a user has that name
MAX_HEADER = 4096


@dataclass(slots=True)
class Accounts:
    """
    Args:
        token: The stack's own: whoever can read its file is its owner, and an admin.
        anonymous: What somebody may do who has not signed in.
        clock: Unix seconds.
    """

    token: str
    users: Users
    sessions: Sessions
    attempts: Attempts
    anonymous: Role | None
    clock: Callable[[], float] = time.time

    def sign_in(self, name: str, password: str, client: str) -> tuple[Identity, str]:
        """
        The identity, and the value of its cookie. Costs 0.1 s of CPU for a user; not for the event loop.

        Raises:
            TooManyAttemptsError: with the seconds to wait.
            SignInError: wrong; it does not say what.
        """
        identity, proof = self._verified(name or OWNER, password, client)
        return identity, self.sessions.open(Session(identity.name, proof), self.clock())

    def _verified(self, name: str, password: str, client: str) -> tuple[Identity, str]:
        now = self.clock()
        keys = (f"name {name[:100]}", f"client {client}")
        wait_s = max(self.attempts.wait_s(key, now) for key in keys)
        if wait_s > 0:
            raise TooManyAttemptsError(f"too many wrong attempts: try again in {wait_s:.0f} s", wait_s)
        user = self.users.get(name)
        if user is None and name == OWNER:
            correct = hmac.compare_digest(password.encode(), self.token.encode())
        else:
            correct = (user or NOBODY).accepts(password) and user is not None
        if not correct:
            for key in keys:
                self.attempts.failed(key, now)
            raise SignInError("wrong name, password or token")
        for key in keys:
            self.attempts.succeeded(key)
        return Identity(name, user.role if user else Role.ADMIN), self._proof(user)

    def _proof(self, user: User | None) -> str:
        return hashlib.sha256((user.hash if user else f"token {self.token}").encode()).hexdigest()

    def of_cookie(self, cookie: str | None) -> Identity:
        """Who has this session now: a role that was changed counts at once, a removed user is nobody."""
        nobody = Identity("anonymous", self.anonymous)
        session = self.sessions.find(cookie, self.clock()) if cookie else None
        if session is None:
            return nobody
        try:
            user = self.users.get(session.name)
        except UsersError as error:  # who the user is cannot be known, so it is nobody
            log.error("%s", error)
            return nobody
        if (user is not None or session.name == OWNER) and self._proof(user) == session.proof:
            return Identity(session.name, user.role if user else Role.ADMIN)
        return nobody

    def of_header(self, header: str, client: str) -> Identity:
        """
        Of an `Authorization` header: the stack's token as Bearer, or a user's name and password as Basic; Basic with
        any name and the token as password too, for clients that know no other way.

        Raises:
            SignInError: it is neither, or wrong.
        """
        if bearer_matches(header, self.token):
            return Identity("token", Role.ADMIN)
        name, password = _basic(header)
        if hmac.compare_digest(password.encode(), self.token.encode()):
            return Identity("token", Role.ADMIN)
        return self._verified(name, password, client)[0]


def _basic(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() == "basic" and len(header) <= MAX_HEADER:
        try:
            name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name = colon = password = ""
        if colon:
            return name, password
    raise SignInError("missing or wrong bearer token")
