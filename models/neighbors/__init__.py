"""The neighbor selection of the N3 block, and its relatives."""
