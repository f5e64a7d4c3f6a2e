"""Find, list and compare runs."""
