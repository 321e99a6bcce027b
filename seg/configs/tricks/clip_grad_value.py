"""Gradient clipping by value: each component of g into [−0.1, 0.1] (Mikolov, 2012); the bound is ours.

Source: Mikolov, 2012
Library: mmengine `clip_grad`
Test: tests/seg/test_seg_tricks.py
"""

optim_wrapper = dict(clip_grad=dict(_delete_=True, type="value", clip_value=0.1))
