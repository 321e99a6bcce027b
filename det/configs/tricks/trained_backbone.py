"""The whole backbone trains, its stem and its batch statistics too, as the control's does.

Detectors on pretrained weights keep those two frozen. Statistics of images that look otherwise may cost more than
pretraining brings (docs/LOG.md, blood cells).

Source: He et al., 1811.08883 (normalisation that trains in the detector); the frozen one is mmdet's `norm_eval=True`
Library: ours
Test: tests/det/test_assemble.py
"""

batch_norm = "trained"
# It says so although that is the default: the trick of this name contradicts it.
frozen_backbone = False
model = dict(backbone=dict(frozen_stages=-1))
