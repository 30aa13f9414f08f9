"""Matches between two pictures: generated scenes, the geometry of two views, and training and use of the network for them."""
