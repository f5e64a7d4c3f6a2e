"""Recognisers of text: where training starts from, and the training."""
