"""Trained networks as ONNX files: read a finished run, write the graph, compare it with torch."""

import engine  # noqa: F401  (it stands in for mmcv's compiled operators, which mmdet and mmseg import)
