"""PLY files (Turk, 1994): elements with named properties, in rows."""
