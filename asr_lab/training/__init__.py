"""The training loop and what it tells of itself."""
