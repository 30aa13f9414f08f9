"""Training speed, and comparisons of training recipes."""
