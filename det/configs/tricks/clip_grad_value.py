"""Gradient clipping by value: each component of g into [−1, 1] (Mikolov, 2012); the bound is detectron2's default.

It takes the place of the norm's bound of `mini`.

Source: Mikolov, 2012
Library: mmengine `clip_grad`
Test: tests/det/test_det_tricks.py
"""

optim_wrapper = dict(clip_grad=dict(_delete_=True, type="value", clip_value=1.0))
