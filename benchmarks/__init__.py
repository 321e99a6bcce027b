"""The harness: it drives the tasks by command line and files, and makes the table."""

# `python -m benchmarks.speed` and its like name the measuring scripts without their folder.
__path__.append(f"{__path__[0]}/scripts")
