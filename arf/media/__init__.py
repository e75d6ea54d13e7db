"""Pictures, videos and pages, in and out."""
