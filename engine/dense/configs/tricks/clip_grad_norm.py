"""Gradient clipping by norm: g ← g · min(1, 1 / ‖g‖₂) over all parameters together (Pascanu et al., 1211.5063).

The classifier's trick uses the same bound, as does mmseg's FCN with K-Net (knet-s3_r50-d8_fcn, with AdamW). mmdet's
own detectors use 35 (Faster R-CNN on Objects365) or 10 (FSAF), which only stops exploding gradients; det's `mini`
clips at 10 without any trick.

Source: 1211.5063
Library: mmengine `clip_grad`
Test: tests/engine/dense/test_tricks.py
"""

clip_grad = dict(_delete_=True, type="norm", max_norm=1.0)
