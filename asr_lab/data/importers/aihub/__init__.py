"""The importer of corpora as AI-Hub has them, a file a step: find, pair, read, settle speakers and splits."""
