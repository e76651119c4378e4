"""What each command takes; what it needs is imported when it runs."""
