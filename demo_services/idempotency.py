"""The `Idempotency-Key` header: who repeats a request with the same key gets the same answer and no second effect."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

# Printable ASCII without spaces, as draft-ietf-httpapi-idempotency-key-header's examples; 128 is twice a UUID's needs.
IdempotencyKey = Annotated[str, Header(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
