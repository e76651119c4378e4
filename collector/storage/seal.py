"""What is done to bytes on their way to the disk and back: nothing, or AES-256 in Galois/Counter mode."""

from __future__ import annotations

import os
from typing import Protocol

from collector.storage.encryption import EncryptionError, EncryptionKey

# As NIST SP 800-38D recommends for nonces: 96 bits, and at random no more than 2^32 of them with one key, which at 100
# records a second is more than a year.
_NONCE_BYTES = 12
_TAG_BYTES = 16


class Seal(Protocol):
    def sealed(self, data: bytes) -> bytes: ...

    def opened(self, data: bytes) -> bytes:
        """
        Raises:
            EncryptionError: not what was sealed, or with another key.
        """
        ...


class Unsealed:
    """The bytes as they are."""

    def sealed(self, data: bytes) -> bytes:
        return data

    def opened(self, data: bytes) -> bytes:
        return data


class AesSeal:
    """Nonce, ciphertext, tag: 28 bytes more than was given. May be used from several threads."""

    def __init__(self, key: EncryptionKey, purpose: str) -> None:
        # Here, as it takes memory that a store without a key need not pay for.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key.derived(purpose))
        self._broken = InvalidTag

    def sealed(self, data: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, None)

    def opened(self, data: bytes) -> bytes:
        if len(data) < _NONCE_BYTES + _TAG_BYTES:
            raise EncryptionError(f"{len(data)} bytes are no sealed record")
        try:
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], None)
        except self._broken:
            raise EncryptionError(f"a record of {len(data)} bytes was sealed with another key, or changed") from None


def seal_of(key: EncryptionKey | None, purpose: str) -> Seal:
    """What files are sealed with; as they are without a key."""
    return Unsealed() if key is None else AesSeal(key, purpose)
