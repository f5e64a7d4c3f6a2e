"""Deleting runs that are not needed: which and why, and how."""
