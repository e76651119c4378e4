"""The embedded stack: what it consists of, how each part is told what to do, and the supervisor that keeps it up."""
