"""What a burst took goes back to the machine."""

from __future__ import annotations

import contextlib
import ctypes
import sys


def give_back_memory() -> None:
    """A burst leaves glibc holding what was freed; it returns that only when asked (malloc_trim(3))."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another libc
            ctypes.CDLL(None).malloc_trim(0)
