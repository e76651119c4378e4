"""
What stands before every request and every websocket of the viewer.

- Host: a page of another name that was made to resolve to this machine (DNS rebinding) gets nothing.
- Origin: whatever changes something, and the websocket that carries the pages' events, must come from our own pages.
  (The page framework takes a websocket from any origin; a cookie alone does not tell who sent it, for the shop on
  another port of this machine is the same site to a browser.)
- Who may look at all, when reading is not open to everybody.
- Every change by the HTTP API goes to the audit log, with who and what came of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.errors import DashboardsError, SignInError
from dashboards.viewer.auth.accounts import Accounts
from dashboards.viewer.auth.audit import AuditLog
from dashboards.viewer.auth.roles import Identity

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
EVENTS = "/_nicegui_ws/"  # the websocket of the pages, and its polling form
# Nothing here tells anything: the form, the framework's scripts, and whether we are alive.
OPEN_PATHS = (
    "/sign-in",
    "/sign-out",
    "/_nicegui/",
    "/assets/",
    "/favicon.ico",
    "/-/healthy",
    "/-/ready",
    "/api/health",
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",  # the report of a drill stands in a page of ours
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'self'; object-src 'none'; base-uri 'self'; form-action 'self'",
}
SCOPE_KEY = "steersman.gate"


class Gate:
    """
    ASGI middleware.

    Args:
        hosts: Names under which the viewer is known, in lower case, without a port; empty: any.
        cookie_name: Browsers do not tell ports apart, so it should name the port.
    """

    def __init__(
        self, app: ASGIApp, *, accounts: Accounts, audit: AuditLog, hosts: Collection[str], cookie_name: str
    ) -> None:
        self.app = app
        self.accounts = accounts
        self.audit = audit
        self.cookie_name = cookie_name
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        scope[SCOPE_KEY] = self
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None and not _is_open(scope["path"]):
            refusal = await self._stopped(scope, headers)
        if refusal is not None:
            await _refuse(refusal, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        await self._answered(scope, headers, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if self._hosts and _name(host) not in self._hosts:
            told = f"this viewer is not known as {host[:100]!r}; VIEWER_ALLOWED_HOSTS can name more"
            return JSONResponse({"message": told}, 403)
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE or scope["path"].startswith(EVENTS)
        if changes and not _same_origin(headers, host):
            told = f"a page of {headers.get('origin', 'another site')[:100]!r} may not act here"
            return JSONResponse({"message": told}, 403)
        return None

    async def _stopped(self, scope: Scope, headers: Headers) -> Response | None:
        """What somebody gets who may not look, or None."""
        try:
            identity = await self.identity(scope, headers)
        except SignInError as error:
            return _unauthorized(str(error))
        if identity.role is not None:
            return None
        if scope["type"] == "http" and not scope["path"].startswith("/api/") and scope["method"] in SAFE:
            query = scope.get("query_string", b"").decode("latin-1")
            wanted = scope["path"] + (f"?{query}" if query else "")
            return RedirectResponse(f"/sign-in?next={quote(wanted)}", 303)
        return _unauthorized("sign in first")

    async def identity(self, scope: Scope, headers: Headers) -> Identity:
        """
        By the header if it has one, else by the session. Kept in the scope, for a password costs time to check.

        Raises:
            SignInError: the header is wrong.
        """
        if "authorization" not in headers or not scope["path"].startswith("/api/"):
            return self.of_scope(scope)
        if "steersman.identity" not in scope:
            client, header = client_of(scope), headers["authorization"]
            try:
                scope["steersman.identity"] = await asyncio.to_thread(self.accounts.of_header, header, client)
            except DashboardsError as error:
                if scope["type"] == "http" and scope["method"] not in SAFE:
                    nobody, target = Identity("unknown", None), f"{scope['method']} {scope['path']}"
                    self.audit.write(nobody, "api", target=target, client=client, outcome="refused", detail=str(error))
                raise SignInError(str(error)) from error
        found: Identity = scope["steersman.identity"]
        return found

    def of_scope(self, scope: Scope) -> Identity:
        """Whose session it is at this moment."""
        return self.accounts.of_cookie(self.cookie_of(scope))

    def cookie_of(self, scope: Scope) -> str | None:
        try:
            jar = SimpleCookie(Headers(scope=scope).get("cookie", ""))
        except CookieError:
            return None
        return jar[self.cookie_name].value if self.cookie_name in jar else None

    async def _answered(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    out.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, watched)
        if scope["method"] not in SAFE and scope["path"].startswith("/api/"):
            self._note(scope, status)

    def _note(self, scope: Scope, status: int) -> None:
        identity = scope.get("steersman.identity") or self.of_scope(scope)
        refused = status in (401, 403)
        outcome = "done" if 200 <= status < 300 else "refused" if refused else "failed"
        target = f"{scope['method']} {scope['path']}"
        told = f"answered {status}"
        self.audit.write(identity, "api", target=target, client=client_of(scope), outcome=outcome, detail=told)


def client_of(scope: Scope) -> str:
    return str((scope.get("client") or ("unknown",))[0])


def _is_open(path: str) -> bool:
    return any(path.startswith(each) if each.endswith("/") else path == each for each in OPEN_PATHS)


def _name(host: str) -> str:
    """`[::1]:3000` → `::1`, `Localhost:3000` → `localhost`."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _same_origin(headers: Headers, host: str) -> bool:
    """
    A browser names the origin of what may change something, and says whether that is ours. What names none is no web
    page: it has no visitor's cookie either, and must show a token.
    """
    origin = headers.get("origin")
    if origin is not None:
        try:
            return urlsplit(origin).netloc.lower() == host.lower()
        except ValueError:
            return False
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none")


def _unauthorized(message: str) -> Response:
    return JSONResponse({"message": message}, 401, headers={"WWW-Authenticate": "Bearer"})


async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # the handshake, which a refusal answers
        await send({"type": "websocket.close", "code": 4403, "reason": "not from here"})
        return
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    await response(scope, receive, send)
