"""Published figures and learning curves, and whether a run agrees with those of its own protocol."""
