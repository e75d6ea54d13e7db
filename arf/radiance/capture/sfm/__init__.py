"""Structure from motion: photographs and clips without cameras become a capture."""
