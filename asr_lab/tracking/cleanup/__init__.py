"""Plan and carry out the deletion of runs."""
