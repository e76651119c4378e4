"""What steps do to the world beside scaling. Each is told the action's key, and may be repeated with it."""
