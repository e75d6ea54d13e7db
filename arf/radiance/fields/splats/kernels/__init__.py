"""The kernels: from Gaussians to ellipses, tiles, pictures, traces, and back."""
