"""What is to be done: the runs of a suite, their identities, and what lies on disk."""
