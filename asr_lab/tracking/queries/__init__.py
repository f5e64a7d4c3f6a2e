"""Finding runs again, and comparing them."""
