"""From frame-wise classes to text."""
