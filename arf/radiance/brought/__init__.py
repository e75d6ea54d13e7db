"""Splats that somebody brings: from where to look at them, and what they then show."""
