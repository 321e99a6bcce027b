"""The command `python -m det.export`: `python -m export onnx` for this task's runs."""

import runpy

if __name__ == "__main__":
    runpy.run_module("export.onnx.det", run_name="__main__", alter_sys=True)
