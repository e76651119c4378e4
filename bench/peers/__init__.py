"""The parts of `bench/metrics.py`: the same samples, queries and rules for the collector and its peers."""
