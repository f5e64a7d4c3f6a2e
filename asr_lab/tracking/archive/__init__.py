"""Archive runs into bundles, restore them, and purge them from the store."""
