"""What the worker remembers: runs, the alerts they answer, their actions, timeline and evidence."""
