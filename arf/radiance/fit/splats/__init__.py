"""Gaussian splats fitted to photographs."""
