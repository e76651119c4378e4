"""The telemetry backend: OTLP and scrapes in; Prometheus, Jaeger and Alertmanager interfaces out."""
