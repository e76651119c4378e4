"""
The section `storage.encryption` of the configuration file.

    storage:
      encryption: {key_file: PATH}            # relative to the configuration file
      encryption: {key_variable: NAME}        # of the environment
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from collector.errors import ConfigError
from collector.storage.encryption import EncryptionKey

_MOST_BYTES = 4096  # a file that is larger holds no key


class EncryptionConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    key_file: Path | None = None
    key_variable: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.key_file is None) == (self.key_variable is None):
            raise ValueError("exactly one of key_file and key_variable says where the key is")
        return self

    def key(self, directory: Path) -> EncryptionKey:
        """
        Read the key.

        Args:
            directory: that a path is relative to.

        Raises:
            ConfigError: there is none, or it is no key.
        """
        if self.key_file is None:
            source = f"storage.encryption: environment variable {self.key_variable}"
            text = os.environ.get(self.key_variable or "")
            if not text:
                raise ConfigError(f"{source} is not set")
            return EncryptionKey.parse(text, source=source)
        path = directory / self.key_file
        source = f"storage.encryption: {path}"
        try:
            with path.open("rb") as file:
                return EncryptionKey.parse(file.read(_MOST_BYTES).decode(), source=source)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "the key is neither hexadecimal nor base64"
            raise ConfigError(f"{source}: {reason}") from None
