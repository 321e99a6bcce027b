"""Gradient clipping by value: each component of g into [−1, 1] (Mikolov, 2012); the bound is detectron2's default.

It replaces a bound on the norm, such as the one in det's `mini`.

Source: Mikolov, 2012
Library: mmengine `clip_grad`
Test: tests/engine/dense/test_tricks.py
"""

clip_grad = dict(_delete_=True, type="value", clip_value=1.0)
