"""The metric store: a head of blocks whose series share timestamps, and a log that makes it durable."""
