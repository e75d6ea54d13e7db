"""Runs of ns-train read, and the files by which ns-* open ours written."""
