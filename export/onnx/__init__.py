"""Export trained networks as ONNX files: read a finished run, write the graph, compare it with torch."""

import engine  # noqa: F401  (installs the substitute for mmcv's compiled ops, which mmdet and mmseg import)
