"""Camera paths: kinds, splines, and their files."""
