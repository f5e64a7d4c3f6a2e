"""Using models: as MLflow pyfuncs, and to transcribe files."""
