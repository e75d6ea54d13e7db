"""Gaussian splats: their files, projection, rasteriser kernels, and the field."""
