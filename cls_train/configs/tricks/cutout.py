"""Cutout: a square of half the image's side, centred anywhere, becomes the mean colour (DeVries, Taylor, 1708.04552).

16 of 32 pixels is the authors' choice for CIFAR-10; the square may reach over the border.

Source: 1708.04552
Library: ours
Test: tests/cls_train/test_transforms.py
"""

train_pipeline = dict(cutout=dict(type="Cutout", size=0.5))
