"""Erasing everything of a speaker: search, rewriting, the record of what was erased."""
