"""Signing in and out: a plain form, which needs no script."""

from __future__ import annotations

import asyncio
import html

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dashboards.errors import SignInError, TooManyAttemptsError, UsersError
from dashboards.viewer.auth.accounts import OWNER
from dashboards.viewer.auth.gate import SCOPE_KEY, Gate, client_of
from dashboards.viewer.auth.roles import Identity
from dashboards.viewer.auth.sessions import LIFETIME_S
from dashboards.viewer.auth.users import MAX_PASSWORD
from dashboards.viewer.pages.stylesheet import STYLE

ACT = "sign_in"
MAX_NEXT = 2000


def sign_in_router(*, hint: str) -> APIRouter:
    """
    Args:
        hint: Where the stack's own token is to be found.
    """
    router = APIRouter()

    @router.get("/sign-in")
    def form(next: str = "/") -> Response:  # noqa: A002  (the name in the address)
        return HTMLResponse(_page(hint, next=local(next)))

    @router.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        gate: Gate = request.scope[SCOPE_KEY]
        given = await request.form(max_files=0, max_fields=4)
        name, password = str(given.get("name") or "").strip()[:100], str(given.get("password") or "").strip()
        wanted, client = local(str(given.get("next") or "/")), client_of(request.scope)
        try:
            if len(password) > MAX_PASSWORD:
                raise SignInError(f"a password has at most {MAX_PASSWORD} characters")
            identity, cookie = await asyncio.to_thread(gate.accounts.sign_in, name, password, client)
        except (SignInError, UsersError) as error:
            who = Identity(name or OWNER, None)
            gate.audit.write(who, ACT, target="viewer", client=client, outcome="refused", detail=str(error))
            return _refused(hint, error, name, wanted)
        gate.audit.write(identity, ACT, target="viewer", client=client, outcome="done")
        answer = RedirectResponse(wanted, 303)
        answer.set_cookie(
            gate.cookie_name,
            cookie,
            max_age=LIFETIME_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @router.post("/sign-out")
    def sign_out(request: Request) -> Response:
        gate: Gate = request.scope[SCOPE_KEY]
        if cookie := gate.cookie_of(request.scope):
            who = gate.of_scope(request.scope)
            gate.accounts.sessions.end(cookie)
            gate.audit.write(who, "sign_out", target="viewer", client=client_of(request.scope), outcome="done")
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(gate.cookie_name, httponly=True, samesite="strict")
        return answer

    return router


def local(address: str) -> str:
    """The address if it is one of ours, else the front page: nobody is sent to a stranger's by a link."""
    ours = address.startswith("/") and not address.startswith(("//", "/\\")) and len(address) <= MAX_NEXT
    return address if ours and address.isprintable() else "/"


def _refused(hint: str, error: Exception, name: str, wanted: str) -> Response:
    if isinstance(error, TooManyAttemptsError):
        headers = {"Retry-After": str(round(error.wait_s) + 1)}
        return HTMLResponse(_page(hint, next=wanted, name=name, error=str(error)), 429, headers)
    status = 500 if isinstance(error, UsersError) else 401
    return HTMLResponse(_page(hint, next=wanted, name=name, error=str(error)), status)


def _page(hint: str, *, next: str, name: str = "", error: str = "") -> str:  # noqa: A002
    told = f'<p class="bad" role="alert">{html.escape(error)}</p>' if error else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · Steersman</title><style>{STYLE}
body {{ margin: 0; }} main.sign-in {{ max-width: 380px; margin: 12vh auto 0; padding: 0 16px; }}
.sign-in label {{ display: block; margin: 12px 0 4px; font-weight: 600; }}
.sign-in input {{ width: 100%; box-sizing: border-box; padding: 9px 10px; border: 1px solid var(--soft);
  border-radius: 6px;
  background: var(--ground); color: var(--ink); font: inherit; }}
.sign-in button {{ margin-top: 16px; width: 100%; padding: 10px; border: 0; border-radius: 6px; background: #1f55bd;
  color: #fff; font: inherit; font-weight: 600; cursor: pointer; }}
</style></head>
<body>
<script>if (matchMedia('(prefers-color-scheme: dark)').matches) document.body.classList.add('body--dark')</script>
<main class="sign-in"><form class="card" method="post" action="/sign-in">
<h1 class="title">Sign in to Steersman</h1>{told}
<input type="hidden" name="next" value="{html.escape(next)}">
<label for="name">Name</label>
<input id="name" name="name" autocomplete="username" placeholder="{OWNER}" value="{html.escape(name)}">
<label for="password">Password or token</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>
<button>Sign in</button>
<p class="soft">{html.escape(hint)}</p></form></main></body></html>"""
