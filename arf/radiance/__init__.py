"""The 3D pipeline: capture → backbone → frozen geometry → stylized colours → film."""
