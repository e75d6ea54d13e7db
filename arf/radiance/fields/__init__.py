"""Fields: what holds a place's geometry and colour."""
