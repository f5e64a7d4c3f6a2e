"""Inference: MLflow pyfuncs, and transcription of files."""
