"""Active selection: which utterances of a pool are worth transcribing."""
