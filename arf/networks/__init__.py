"""Pictures in the style of others by a network that was trained once: AdaIN, fast networks, many styles, CAST."""
