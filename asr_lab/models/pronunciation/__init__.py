"""Models of pronunciation assessment: what was said (CTC), and what of the canonical phonemes was said wrong."""
