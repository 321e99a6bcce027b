"""The former name of `python -m benchmarks.scripts.figures`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("benchmarks.scripts.figures", run_name="__main__", alter_sys=True)
