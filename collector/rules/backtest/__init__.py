"""What a rule would have done: rules replayed over stored data, with the state machine of the live engine."""
