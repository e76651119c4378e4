"""A small Auto Scaling group for each service: desired, minimum, maximum; start, drain, replace. And its HTTP API."""
