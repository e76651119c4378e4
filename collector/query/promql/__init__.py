"""PromQL, evaluated over all series and steps at once."""
