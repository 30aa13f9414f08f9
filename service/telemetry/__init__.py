"""Metrics, the record of a request, and logs."""
