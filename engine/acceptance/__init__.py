"""Checks of this machine that need torch: `python -m engine.acceptance CHECK… [--json]`.

The harness runs them for `python -m benchmarks doctor --full`.
"""
