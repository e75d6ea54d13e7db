"""Splats moved by gradient descent until they render like given pictures."""
