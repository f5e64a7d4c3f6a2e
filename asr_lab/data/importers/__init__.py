"""One file a corpus: each turns what lies on a user's disk into a manifest."""
