"""Style pictures of our own, one module each; every module has `paint(seed) -> PIL.Image.Image`."""
