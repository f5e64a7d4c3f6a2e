"""Local spool of runs: the journal of their events, and shipping to the tracking store.

The way of an event: recorder -> `journal` -> `shipper` (background thread; when to try again) -> `delivery` (one spool,
in order) -> `sender` (one group of events). `sync` does the same by command, for what a run left behind.
"""
