"""Repainting a field in the style of pictures."""
