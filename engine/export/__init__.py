"""Trained networks as ONNX files: a finished work dir read back, the graph written, and held against torch."""
