"""An adapter of one speaker's, or of each speaker's, on a frozen base."""
