"""Videos, painted by a network."""
