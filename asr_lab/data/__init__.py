"""Speech data: corpora become manifests, manifests become splits and batches."""
