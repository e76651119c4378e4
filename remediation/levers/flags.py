"""
Feature flags: NATS's key-value bucket `flags`, one key a flag, watched by every replica.

A value is JSON, {"value": …, "until_unix_ms": …}; one whose time is over counts as none. What is written carries the
revision that it replaces, so of two who write at once one is refused by the server.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remediation.errors import ConflictError, PermanentScalerError, TemporaryScalerError
from remediation.flags import BUCKET, decoded
from remediation.guards import Refusal
from remediation.levers.lever import Move
from remediation.policy.policy import Step
from remediation.workflow.case import Case
from steersman.runtime.tokens import EmptyTokenError, read_token

ANSWER_S = 3.0  # on loopback it takes milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagStore:
    url: str  # nats://…
    token_file: Path | None

    def read(self, name: str, now_unix_ms: int) -> Any:
        """The flag's value, None if it has none or its time is over. Raises as a scaler."""
        return asyncio.run(self._with_bucket(name, None, now_unix_ms))

    def write(self, name: str, move: Move, now_unix_ms: int) -> None:
        """
        Raises:
            ConflictError, PermanentScalerError, TemporaryScalerError
        """
        asyncio.run(self._with_bucket(name, move, now_unix_ms))

    async def _with_bucket(self, name: str, move: Move | None, now_unix_ms: int) -> Any:
        import nats  # for who sets flags; it costs 3 MB
        from nats.errors import Error
        from nats.js.errors import APIError, BucketNotFoundError, KeyWrongLastSequenceError

        try:
            token = read_token(self.token_file) if self.token_file else None
            async with asyncio.timeout(ANSWER_S):
                client = await nats.connect(self.url, token=token, allow_reconnect=False, error_cb=_quiet)
                try:
                    bucket = await client.jetstream(timeout=ANSWER_S).key_value(BUCKET)
                    return await _exchange(bucket, name, move, now_unix_ms)
                finally:
                    await client.close()
        except BucketNotFoundError as error:
            raise PermanentScalerError(
                f"{self.url} has no bucket {BUCKET!r}: no service reads flags from it"
            ) from error
        except KeyWrongLastSequenceError as error:
            raise ConflictError(f"flag {name} was changed by somebody else at this moment") from error
        except EmptyTokenError as error:
            raise PermanentScalerError(str(error)) from error
        except (Error, APIError, OSError, TimeoutError) as error:
            raise TemporaryScalerError(f"flag {name} at {self.url}: {str(error) or type(error).__name__}") from error


async def _quiet(_error: Exception) -> None:
    """What fails is raised; a traceback besides says nothing more."""


async def _exchange(bucket: Any, name: str, move: Move | None, now_unix_ms: int) -> Any:
    from nats.js.errors import KeyDeletedError, KeyNotFoundError

    revision, found = None, None
    try:
        entry = await bucket.get(name)
        revision, found = entry.revision, decoded(entry.value, now_unix_ms)
    except KeyDeletedError as error:
        revision = error.entry.revision if error.entry is not None else None
    except KeyNotFoundError:
        pass
    if move is None or found == move.after["value"]:
        return found
    if found != move.before["value"]:
        raise ConflictError(f"flag {name} is {found!r}, not {move.before['value']!r}: somebody else has changed it")
    await bucket.update(name, json.dumps(move.after).encode(), last=revision or 0)
    return move.after["value"]


class FlagLever:
    reversible = True

    def __init__(self, store: FlagStore) -> None:
        self._store = store

    def aim(self, case: Case, step: Step, now_unix_ms: int) -> Move | Refusal:
        flag = step.set_flag
        if flag is None:
            raise ValueError(f"step {step.name!r} sets no flag")
        name = case.told(flag.flag)
        if not name or name.strip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."):
            return Refusal("flag", f"{name[:80]!r} is no name of a flag")
        before = self._store.read(name, now_unix_ms)
        if before == flag.value:
            return Refusal("not_needed", f"flag {name} is {_words(before)} already")
        if flag.only_if is not None and before != flag.only_if:
            return Refusal("not_needed", f"flag {name} is {_words(before)}, not {_words(flag.only_if)}")
        until = None if flag.for_ is None else now_unix_ms + round(flag.for_ * 1000)
        lasting = "" if flag.for_ is None else f", for {flag.for_:g} s"
        return Move(
            before={"value": before, "until_unix_ms": None},
            after={"value": flag.value, "until_unix_ms": until},
            was=_words(before),
            becomes=_words(flag.value),
            reason=f"flag {name} is set to {_words(flag.value)}{lasting}",
            thing=name,
        )

    def pull(self, service: str, move: Move, now_unix_ms: int) -> None:
        self._store.write(move.thing, move, now_unix_ms)


def _words(value: Any) -> str:
    return "unset" if value is None else json.dumps(value) if not isinstance(value, str) else value
