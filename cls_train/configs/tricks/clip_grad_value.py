"""Gradient clipping by value: each component of g into [−0.1, 0.1] (Mikolov, 2012); the bound is ours.

Source: Mikolov, 2012
Library: mmengine `clip_grad`
Test: tests/cls_train/test_optimisers.py
"""

clip_grad = dict(type="value", clip_value=0.1)
