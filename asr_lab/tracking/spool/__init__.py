"""A run on this disk first: its journal, and the shipping of it to the tracking store. Only `shipping` knows MLflow."""
