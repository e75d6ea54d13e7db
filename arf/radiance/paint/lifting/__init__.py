"""Pictures of the views become the look of a scene."""
