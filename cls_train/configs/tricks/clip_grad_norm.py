"""Gradient clipping by norm: g ← g · min(1, 1 / ‖g‖₂) over all parameters together (Pascanu et al., 1211.5063).

Source: 1211.5063
Library: mmengine `clip_grad`
Test: tests/cls_train/test_optimisers.py
"""

clip_grad = dict(type="norm", max_norm=1.0)
