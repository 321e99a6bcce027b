"""What came of a run: its files as records, their statistics, and the warnings about them."""
