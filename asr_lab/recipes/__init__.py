"""Recipes: each leads from a configuration to a recorded run."""
