"""
Encryption at rest: one key of 256 bits, from which each store derives its own.

A data folder that is encrypted says so in `encryption.json`, with what tells one key from another. It is read before a
store is opened, so that a wrong key touches nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from collector.errors import CollectorError, ConfigError
from collector.storage.durable_file import replace_file

KEY_BYTES = 32  # AES-256
MARK = "encryption.json"
_CIPHER = "AES-256-GCM"
_TELL = "which key this is"


class EncryptionError(CollectorError):
    """A data folder is encrypted with another key than the one given, or only one of both is."""


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    material: bytes = field(repr=False)  # KEY_BYTES of them, random

    @classmethod
    def parse(cls, text: str, *, source: str) -> EncryptionKey:
        """
        A key in hexadecimal or base64, as `openssl rand -hex 32` and `openssl rand -base64 32` print one.

        Raises:
            ConfigError: it is neither, or of another length; it names `source` and not the text.
        """
        text = text.strip()
        try:
            material = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            raise ConfigError(f"{source}: the key is neither hexadecimal nor base64") from None
        if len(material) != KEY_BYTES:
            raise ConfigError(f"{source}: the key has {len(material)} bytes, not {KEY_BYTES}")
        return cls(material)

    def derived(self, purpose: str) -> bytes:
        """KEY_BYTES for one purpose, which say nothing of the key or of other purposes (NIST SP 800-108, HMAC)."""
        return hmac.digest(self.material, purpose.encode(), sha256)


def check_key(data_dir: Path, key: EncryptionKey | None, *, stores: Sequence[str]) -> None:
    """
    Return if the stores of `data_dir` may be opened with `key`; mark a new folder as encrypted.

    Args:
        stores: names in `data_dir` that say, by being there, that something was stored.

    Raises:
        EncryptionError: they may not. Nothing was touched.
    """
    mark = data_dir / MARK
    told = _told(mark)
    if key is None:
        if told is not None:
            raise EncryptionError(f"{data_dir} is encrypted: storage.encryption has to say where the key is")
        return
    own = key.derived(_TELL).hex()[:16]
    if told is None:
        there = [name for name in stores if (data_dir / name).exists()]
        if there:
            raise EncryptionError(
                f"{data_dir} is not encrypted, as {there[0]} is there: collector.rekey writes it anew with a key"
            )
        replace_file(mark, json.dumps({"cipher": _CIPHER, "key": own}).encode())
    elif not hmac.compare_digest(told, own):
        raise EncryptionError(f"{data_dir} is encrypted with another key: {told}…, not {own}…")


def _told(mark: Path) -> str | None:
    try:
        content = json.loads(mark.read_bytes())
        return str(content["key"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise EncryptionError(f"{mark} cannot be read: {error}") from error
