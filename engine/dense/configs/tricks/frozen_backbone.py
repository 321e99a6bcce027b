"""The backbone is frozen, including batch normalisation; only the neck and the heads are trained.

This measures how useful the pretrained features are without fine-tuning. The control row, with random features, shows
what the heads can do alone.

Source: Kornblith et al., 1805.08974 ("fixed feature extractors")
Library: ours
Test: tests/engine/dense/test_tricks.py
"""

frozen_backbone = True
