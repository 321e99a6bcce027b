"""A trained segmentor as an ONNX file; see `python -m seg.export --help`."""
