"""How panels are drawn."""
