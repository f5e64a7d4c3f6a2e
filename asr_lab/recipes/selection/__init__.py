"""Active selection: choose the utterances of a pool to transcribe next."""
