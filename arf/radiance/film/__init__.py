"""Camera paths, frames and videos."""
