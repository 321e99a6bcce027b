"""Export trained networks as ONNX files, or weights with other libraries' names. No task imports this package."""
