"""Weights: the shipped files with their cards, reading and writing them, and import of the authors' checkpoints."""
