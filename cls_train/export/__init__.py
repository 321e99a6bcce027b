"""A trained classifier as an ONNX file; see `python -m cls_train.export --help`."""
