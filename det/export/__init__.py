"""A trained detector as an ONNX file; see `python -m det.export --help`."""
