"""The importer of AI-Hub corpora, a file for each step: find, pair, read, assign speakers and splits."""
