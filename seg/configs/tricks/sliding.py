"""Test with sliding windows of the training crop's size and a stride of two thirds of it, instead of the whole image.

Source: 1612.01105, code
Library: mmseg `slide_inference`
Test: tests/seg/test_multi_scale.py
"""

# Stride of the windows as a fraction of their sides.
sliding = dict(step=2 / 3)
