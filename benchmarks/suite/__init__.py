"""Suites: plain data, their checks and selections."""
