"""Frozen geometry as matrices, and what is solved with them."""
