"""Runs thrown away, packed and brought back, and people forgotten: planned, shown, then done."""
