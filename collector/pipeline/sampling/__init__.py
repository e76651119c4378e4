"""Tail sampling: which traces are kept, decided on whole traces, with the OpenTelemetry Collector's policies."""
