"""Curriculum fine-tuning: phases of growing data."""
