"""Published figures and learning curves, with the protocol of each."""
