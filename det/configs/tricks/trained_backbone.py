"""The whole backbone trains, including its stem and its batch statistics, as in the control.

Detectors on pretrained weights keep these two frozen. On images that look different, frozen statistics may cost more
than pretraining gains (docs/LOG.md, blood cells).

Source: He et al., 1811.08883 (trained normalisation in the detector); the frozen one is mmdet's `norm_eval=True`
Library: ours
Test: tests/det/test_assemble.py
"""

batch_norm = "trained"
# Set explicitly although it is the default, to conflict with the trick of this name.
frozen_backbone = False
model = dict(backbone=dict(frozen_stages=-1))
