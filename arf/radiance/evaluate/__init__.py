"""How near a field is to its photographs."""
