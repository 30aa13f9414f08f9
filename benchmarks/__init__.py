"""Measurements, each a module to run. Their reports and plots are in `benchmarks/results`."""
