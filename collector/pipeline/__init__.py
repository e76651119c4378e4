"""What happens between a receiver and a store."""
