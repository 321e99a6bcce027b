"""Testing by windows of the training crop's size, every two thirds of it, instead of the whole image.

Source: 1612.01105, code
Library: mmseg `slide_inference`
Test: tests/seg/test_multi_scale.py
"""

# Step from window to window as a share of their sides.
sliding = dict(step=2 / 3)
