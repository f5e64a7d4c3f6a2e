"""Local spool of runs: the journal of their events, and shipping to the tracking store."""
