"""Recognisers of the wav2vec2 family: wav2vec 2.0, XLS-R, HuBERT, WavLM, each with a CTC head."""
