"""A walk through splats as one HTML file that opens from disk: what is embedded, and the scripts that show it."""
