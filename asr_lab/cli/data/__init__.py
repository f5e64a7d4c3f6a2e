"""`asr-lab data ...`: synthesise, import, split, describe and check corpora."""
