"""Studies from runs: recording figures, checking what they depend on, making them again."""
