"""The APIs that the viewer asks."""
