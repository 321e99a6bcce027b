"""Gradient clipping by value: each component of g into [−0.1, 0.1] (Mikolov, 2012); the bound is ours.

It replaces the dense tasks' common trick, which has detectron2's bound.

Source: Mikolov, 2012
Library: mmengine `clip_grad`
Test: tests/engine/dense/test_tricks.py
"""

clip_grad = dict(_delete_=True, type="value", clip_value=0.1)
