"""One picture from bytes to bytes, for the API and the command line alike; no I/O."""
