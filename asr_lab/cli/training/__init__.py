"""Commands that train, evaluate and search."""
