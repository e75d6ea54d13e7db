"""The whole way without any input."""
