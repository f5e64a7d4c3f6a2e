"""`asr-lab data ...`: make, import, split, describe and check corpora."""
