"""Make a dataset from another: a smaller copy, or a packed one and back."""
