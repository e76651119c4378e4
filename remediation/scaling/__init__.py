"""Scaling that no alert asks for: what telemetry, schedule and forecast want, and when it is done."""
