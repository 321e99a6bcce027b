"""Training on four fifths of the training images and testing on the rest; no test image is read.

What a learning rate is chosen by (`python -m benchmarks sweep`): one image in five, by the hash of its name, with the
pipeline of the test set. The numbers are no test numbers, and the protocol says so.

Source: the usual practice; no paper's
Library: ours, on mmdet's `XMLDataset` and mmseg's `BaseSegDataset`
Test: tests/engine/dense/test_holdout.py
"""

holdout = True
