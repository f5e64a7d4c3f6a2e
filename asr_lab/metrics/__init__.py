"""What is measured, how surely, and which figure decides."""
