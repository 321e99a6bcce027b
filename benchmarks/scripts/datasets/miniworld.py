"""The former name of `python -m datasets.miniworld`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("datasets.miniworld", run_name="__main__", alter_sys=True)
