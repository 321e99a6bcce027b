"""Pretrained checkpoints: the file format, strict loading, and the feature fingerprint."""
