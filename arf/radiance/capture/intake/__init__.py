"""What somebody gives: photographs and clips, which become the pictures of a capture."""
