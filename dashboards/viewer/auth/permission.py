"""The one way in which a page, or the HTTP API, does what changes something: asked, done, written into the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request
from nicegui import ui

from dashboards.errors import DashboardsError, SignInError
from dashboards.viewer.auth.gate import SCOPE_KEY, Gate, client_of
from dashboards.viewer.auth.roles import Act, Identity, needed_for


def require(act: Act) -> Callable[[Request], Awaitable[None]]:
    """A FastAPI dependency. It asks for an `Authorization` header: a session's cookie changes nothing by the API."""

    async def check(request: Request) -> None:
        if "authorization" not in request.headers:
            raise HTTPException(401, "missing or wrong bearer token")
        gate: Gate = request.scope[SCOPE_KEY]
        try:
            identity = await gate.identity(request.scope, request.headers)
        except SignInError as error:
            raise HTTPException(401, str(error)) from error
        if not identity.may(act):
            raise HTTPException(403, f"{act} needs the role {needed_for(act)}, {identity.name} has {identity.role}")

    return check


def visitor() -> Identity:
    """Who looks at the page that is being built, or whose event is handled; as of now, not of when it was opened."""
    gate, request = _gate()
    return gate.of_scope(request.scope)


def _gate() -> tuple[Gate, Request]:
    request = ui.context.client.request
    return request.scope[SCOPE_KEY], request


async def perform(act: Act, target: str, do: Callable[[str], Awaitable[object]]) -> bool:
    """
    Do it if the visitor may; either way it is in the audit log, and the visitor is told what went wrong.

    Args:
        target: What is acted on, in words.
        do: Gets the visitor's name; raises DashboardsError if it does not work.

    Returns:
        Whether it was done.
    """
    gate, request = _gate()
    identity = gate.of_scope(request.scope)
    client = client_of(request.scope)
    if not identity.may(act):
        gate.audit.write(identity, act, target=target, client=client, outcome="refused")
        ui.notify(f"This needs the role {needed_for(act)}. Sign in first.", type="negative")
        return False
    try:
        await do(identity.name)
    except DashboardsError as error:
        gate.audit.write(identity, act, target=target, client=client, outcome="failed", detail=str(error))
        ui.notify(str(error), type="negative", multi_line=True, timeout=10_000)
        return False
    gate.audit.write(identity, act, target=target, client=client, outcome="done")
    return True
