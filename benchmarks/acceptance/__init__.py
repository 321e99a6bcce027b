"""Does everything work on this machine? The checks of `python -m benchmarks doctor --full`."""
