"""Background jobs: their state, their results, and the stores that keep both."""
