"""Each a short straight line from a configuration to a recorded run."""
