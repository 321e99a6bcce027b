"""`python -m benchmarks.scripts.figures`: pictures that show what the tricks do, drawn by the code that trains."""
