"""Photographs to a field."""
