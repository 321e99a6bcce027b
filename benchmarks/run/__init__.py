"""Doing it: the runs of a plan as processes."""
