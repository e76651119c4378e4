"""What to do about which alert: policy files, matchers, durations and templates. No I/O but reading the files."""
