"""Import of weights that other programs wrote. No task imports this package."""
