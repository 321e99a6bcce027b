"""The backbone stays as it came, batch normalisation and all; neck and heads are trained.

How much of the task the features hold already, without being moved. Random features, in the control row, are the
measure of what the heads can do alone.

Source: Kornblith et al., 1805.08974 ("fixed feature extractors")
Library: ours
Test: tests/engine/dense/test_transfer.py
"""

frozen_backbone = True
