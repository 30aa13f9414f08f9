"""The service on a Ray cluster: one Ray Serve deployment whose replicas are whole applications."""
