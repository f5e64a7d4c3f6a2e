"""Erase everything of a speaker: search, rewrite, and the erasure record."""
