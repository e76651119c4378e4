"""A run from alert to end: what is asked, what is done, in which order."""
