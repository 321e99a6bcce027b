"""The harness: it runs the tasks through their command lines and files, and writes the table."""

# `python -m benchmarks.speed` and its like name the measuring scripts without their folder.
__path__.append(f"{__path__[0]}/scripts")
