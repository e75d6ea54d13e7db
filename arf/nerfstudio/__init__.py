"""The one room that imports nerfstudio."""
