"""asr_lab: train, adapt, evaluate, compare and keep speech recognisers on MLflow.

Importing this package imports nothing heavy; `README.md` shows where things are.
"""

__version__ = "0.1.0"
