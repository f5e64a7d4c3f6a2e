"""Commands for the tracking store: cleanup, archive, forget, sync, doctor."""
