"""Importer of AI-Hub corpora: scan folders, pair labels, read utterances, assign speakers and splits."""
