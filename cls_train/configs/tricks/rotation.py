"""Rotation by an angle from U[−10°, 10°], corners black; the angle is a common choice, no paper's."""

train_pipeline = dict(rotation=dict(type="RandomRotation", degrees=10))
