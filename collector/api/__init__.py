"""The HTTP interfaces of Prometheus and Jaeger."""
