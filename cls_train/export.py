"""The command `python -m cls_train.export`: `python -m export onnx` for this task's runs."""

import runpy

if __name__ == "__main__":
    runpy.run_module("export.onnx.cls", run_name="__main__", alter_sys=True)
