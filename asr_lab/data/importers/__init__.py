"""Importers of corpora: each turns a corpus on the disk into manifests. `registry` has the table of them."""
