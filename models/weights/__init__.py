"""Weights files: the shipped ones, their cards, and the code that reads them."""
