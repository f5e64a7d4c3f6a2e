"""What recipes and sweeps know of tracking: protocols, and versions of them in memory."""
