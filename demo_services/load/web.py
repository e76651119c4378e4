"""Routes beside Locust's own, and the guard before all: looking is free, changing asks for the token."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, jsonify, redirect, request

from demo_services.load.generator import Generator
from demo_services.load.rates import RateError
from steersman.runtime.tokens import bearer_matches

HIGHEST_BODY_BYTES = 64 * 1024
COOKIE = "steersman_load"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM = """<!doctype html><title>Load generator</title><h1>Load generator</h1>
<p>Looking is free. To start, stop or reset the load from the page, give the content of the token file.</p>
<form method="post"><label>Token <input name="token" type="password" autofocus></label> <button>Go</button></form>
"""


def add_routes(app: Flask, generator: Generator, *, token: str, is_ready: Callable[[], bool]) -> None:
    app.config["MAX_CONTENT_LENGTH"] = HIGHEST_BODY_BYTES
    cookie = hmac.new(token.encode(), b"load generator page", hashlib.sha256).hexdigest()

    @app.before_request
    def guard() -> tuple[Response, int, dict[str, str]] | None:
        """Every route that is not only read, Locust's own too. (Its stop and reset are POST.)"""
        if request.method in _READING or request.path == "/token":
            return None
        if bearer_matches(request.headers.get("authorization"), token):
            return None
        if hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), cookie.encode()):
            return None
        message = "missing or wrong bearer token; in a browser, give it at /token"
        return _error(401, "unauthorized", message), 401, {"WWW-Authenticate": "Bearer"}

    @app.get("/token")
    def token_form() -> str:
        return _FORM

    @app.post("/token")
    def take_token() -> Any:
        if not hmac.compare_digest(request.form.get("token", "").strip().encode(), token.encode()):
            return _error(401, "unauthorized", "wrong token"), 401
        answer = redirect("/")
        answer.set_cookie(COOKIE, cookie, httponly=True, samesite="Strict")
        return answer

    @app.get("/rate")
    def get_rate() -> Response:
        return jsonify(generator.status())

    @app.put("/rate")
    def put_rate() -> Any:
        body = request.get_json(force=True, silent=True)
        if not isinstance(body, dict):
            return _error(400, "bad_data", "the body must be a JSON object of rates"), 400
        try:
            generator.book.put(body, time.monotonic())
        except RateError as error:
            return _error(400, "bad_data", str(error)), 400
        return jsonify(generator.status())

    @app.get("/-/healthy")
    def healthy() -> str:
        return "ok\n"

    @app.get("/-/ready")
    def ready() -> Any:
        return "ready\n" if is_ready() else (_error(503, "unavailable", "no load runs"), 503)

    @app.errorhandler(413)
    def too_large(_error_: Exception) -> Any:
        return _error(413, "bad_data", f"the body is over {HIGHEST_BODY_BYTES} bytes"), 413


def _error(status: int, kind: str, message: str) -> Response:
    response = jsonify({"status": "error", "errorType": kind, "error": message})
    response.status_code = status
    return response
