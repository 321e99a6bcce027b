"""Trained networks for other programs: ONNX files, and weights under other libraries' names. No task imports it."""
