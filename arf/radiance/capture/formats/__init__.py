"""What captures come in: JSON, COLMAP, LLFF. Each reader gives shots and their frame."""
