"""Tracking protocols used by recipes and sweeps, with in-memory implementations."""
