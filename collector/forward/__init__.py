"""Agent mode: OTLP in, through a queue on disk, OTLP out. No store is opened."""
