"""The former name of `python -m probe`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("probe", run_name="__main__", alter_sys=True)
