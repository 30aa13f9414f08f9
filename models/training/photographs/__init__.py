"""Simulated photographs: what a camera, its software and later processing do to noise."""
