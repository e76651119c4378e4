"""Metrics derived from spans, named as the OpenTelemetry Collector's connectors name them."""
