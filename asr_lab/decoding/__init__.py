"""CTC decoding, alignment and goodness of pronunciation."""
