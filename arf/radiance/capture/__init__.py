"""Photographs with cameras: every format, through one door."""
