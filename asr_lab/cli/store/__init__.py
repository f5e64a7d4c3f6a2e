"""Commands that keep the store in order: cleanup, archive, forget, sync, doctor."""
