"""Measurements: speed, load, peers, training; each a module to run."""
