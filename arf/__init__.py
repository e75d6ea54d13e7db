"""arf: photographs of a place, repainted in the style of a picture, that you can walk through."""

__version__ = "0.1.0"
