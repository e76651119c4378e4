"""The span store, on DuckDB."""
