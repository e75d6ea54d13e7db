"""What a style is: encoders, losses, colour, and the objective that 2D and 3D share."""
