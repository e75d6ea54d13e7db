"""The loop under all 2D methods by optimisation."""
