"""Rotation by an angle from U[−10°, 10°] with black corners; the angle is a common choice, not from a paper.

Source: not from a paper
Library: torchvision `RandomRotation`
Test: tests/cls_train/test_transforms_augment.py
"""

train_pipeline = dict(rotation=dict(type="RandomRotation", degrees=10))
