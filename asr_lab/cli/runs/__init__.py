"""Commands that list, show, compare and repeat runs."""
