"""Error rates, confidence intervals, slices, and the catalog of metrics."""
