"""Stacks that campaigns and measurements start for themselves, as they are or with something taken away."""
