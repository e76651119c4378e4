"""The embedded stack's orchestrator, by its HTTP API (docs/architecture.md, Orchestrator)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from remediation.errors import ConflictError, PermanentScalerError, TemporaryScalerError
from remediation.scalers.scaler import Replicas

TIMEOUT_S = 3.0  # it only writes down a number; replicas start afterwards


class LocalScaler:
    surges = True

    def __init__(self, url: str, token: str, *, timeout_s: float = TIMEOUT_S) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def get(self, service: str) -> Replicas:
        return self._replicas("GET", f"/api/v1/services/{quote(service, safe='')}", None)

    def services(self) -> list[str]:
        path = "/api/v1/services"
        answer = self._ask("GET", path, None)
        try:
            return sorted(str(service["name"]) for service in answer["services"])
        except (KeyError, TypeError) as error:
            raise TemporaryScalerError(f"GET {path}: unexpected answer: {error!r}") from error

    def set_desired(self, service: str, desired: int) -> Replicas:
        return self._replicas("PUT", f"/api/v1/services/{quote(service, safe='')}/desired", {"desired": desired})

    def restart(self, service: str, started_before_unix_ms: int, replica: str | None = None) -> None:
        path = f"/api/v1/services/{quote(service, safe='')}/restart"
        one = {} if replica is None else {"instance": replica}
        self._ask("POST", path, {"started_before_unix_ms": started_before_unix_ms, **one})

    def control(self, service: str, name: str) -> dict[str, Any]:
        return self._control("GET", service, name, None)

    def set_control(self, service: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._control("PUT", service, name, body)

    def _control(self, method: str, service: str, name: str, body: dict[str, Any] | None) -> dict[str, Any]:
        path = f"/api/v1/services/{quote(service, safe='')}/{name}"
        answer = self._ask(method, path, body)
        if not isinstance(answer, dict):
            raise TemporaryScalerError(f"{method} {path}: unexpected answer: {str(answer)[:80]}")
        return answer

    def _replicas(self, method: str, path: str, body: Any) -> Replicas:
        answer = self._ask(method, path, body)
        try:
            numbers = {name: int(answer[name]) for name in ("desired", "ready", "minimum", "maximum")}
            return Replicas(service=str(answer["name"]), **numbers)
        except (KeyError, TypeError, ValueError) as error:
            raise TemporaryScalerError(f"{method} {path}: unexpected answer: {error!r}") from error

    def _ask(self, method: str, path: str, body: Any) -> Any:
        try:
            response = self._client.request(method, path, json=body)
            answer = response.json()
        except httpx.HTTPError as error:
            raise TemporaryScalerError(f"{method} {self._client.base_url}{path}: {error!r}") from error
        except ValueError as error:
            raise TemporaryScalerError(f"{method} {path}: status {response.status_code}, not JSON") from error
        if not response.is_success:
            reason = answer.get("error") if isinstance(answer, dict) else None
            if response.status_code == 409:
                raise ConflictError(f"{method} {path}: {reason}")
            temporary = response.status_code >= 500 or response.status_code == 429
            kind = TemporaryScalerError if temporary else PermanentScalerError
            raise kind(f"{method} {path}: status {response.status_code}: {reason}")
        return answer
