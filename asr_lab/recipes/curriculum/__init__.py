"""Fine-tuning by phases of growing data."""
