"""Planning: the runs of a suite, their identities, and the state on disk."""
