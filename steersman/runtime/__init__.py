"""What every part needs and none owns: ports, paths, tokens, HTTP serving, telemetry. Imports nothing of ours."""
