"""The built-in viewer: dashboards, traces, alerts, remediations, drills, on any Prometheus and Jaeger API."""
