"""Execution: the runs of a plan as processes."""
