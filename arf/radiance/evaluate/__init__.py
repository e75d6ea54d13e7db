"""How near a field is to its photographs; how consistent, how painted and how true a painting is."""
