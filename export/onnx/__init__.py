"""Trained networks as ONNX files: read a finished run, write the graph, compare it with torch."""
