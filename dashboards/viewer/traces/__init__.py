"""A trace as a tree: what it waited for, and where the time went. Pure."""
