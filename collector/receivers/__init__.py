"""Telemetry coming in: OTLP, scrapes."""
