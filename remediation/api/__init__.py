"""Parts of the HTTP API that are large enough to stand alone."""
