"""Pronunciation assessment models: phoneme recognition (CTC) and errors of the canonical phonemes."""
