"""What a step may set beside replicas: each lever reads it, decides on an absolute value, and sets that."""
