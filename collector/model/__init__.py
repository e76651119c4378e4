"""Values that every layer knows: labels, samples, blocks of series. No I/O."""
