"""Train on four fifths of the training images and test on the rest; no test image is read.

`python -m benchmarks sweep` chooses learning rates with it. One image in five is held out, by the hash of its name,
and processed with the test pipeline. The scores are not test scores, and the protocol says so.

Source: common practice
Library: ours, on mmdet's `XMLDataset` and mmseg's `BaseSegDataset`
Test: tests/engine/dense/test_holdout.py
"""

holdout = True
