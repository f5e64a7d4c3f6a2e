"""Mispronunciation detection: training, scoring, evaluation."""
