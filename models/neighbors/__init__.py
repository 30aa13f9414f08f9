"""Neighbor selection of the N3 block and related methods: membership, soft nearest neighbor loss, non-local block and means."""
