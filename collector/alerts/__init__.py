"""Alerts going out: routing, grouping, notification."""
