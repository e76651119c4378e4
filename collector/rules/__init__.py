"""Rule groups: recording and alerting rules."""
