"""Style transfer in the plane: pictures in, pictures out."""
