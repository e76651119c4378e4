"""Grafana's dashboard JSON, read leniently: ours and strangers'."""
