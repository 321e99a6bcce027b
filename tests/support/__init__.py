"""Fixtures and helpers of several test modules."""
