"""Gradient clipping by norm: g ← g · min(1, 1 / ‖g‖₂) over all parameters together (Pascanu et al., 1211.5063).

The bound is that of the classifier's trick, and of mmseg's FCN with K-Net (knet-s3_r50-d8_fcn), there with AdamW.

Source: 1211.5063
Library: mmengine `clip_grad`
Test: tests/seg/test_seg_tricks.py
"""

optim_wrapper = dict(clip_grad=dict(_delete_=True, type="norm", max_norm=1.0))
