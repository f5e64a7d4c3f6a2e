"""Runs packed into bundles, brought back, and erased from the store."""
