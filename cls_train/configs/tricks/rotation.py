"""Rotation by an angle from U[−10°, 10°], corners black; the angle is a common choice, no paper's.

Source: no paper's
Library: torchvision `RandomRotation`
Test: tests/cls_train/test_transforms_augment.py
"""

train_pipeline = dict(rotation=dict(type="RandomRotation", degrees=10))
