"""`python -m benchmarks.scripts.figures`: figures of the effects of tricks, drawn with the training code."""
