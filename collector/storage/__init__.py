"""What is kept: metrics in blocks, spans and logs in DuckDB."""
