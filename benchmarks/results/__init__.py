"""Results: the files of runs as records, their statistics, and warnings about them."""
