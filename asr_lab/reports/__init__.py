"""Figures and self-contained pages: pure functions of data, no tracking."""
