"""What is acted on, by name."""

from __future__ import annotations

# What a scaler may call a service, with the kind before it where it has several: it becomes part of a URL.
TARGET_NAME = r"^(?:[a-z]{1,32}/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
