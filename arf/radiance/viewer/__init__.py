"""A scene in a browser: look around in it, change its painting, make camera paths for films."""
