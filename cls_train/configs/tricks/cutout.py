"""Cutout: a square of half the image's side, centred anywhere, becomes the mean colour (DeVries, Taylor, 1708.04552).

The authors use 16 of 32 pixels for CIFAR-10; the square may extend beyond the border.

Source: 1708.04552
Library: ours
Test: tests/cls_train/test_transforms.py
"""

train_pipeline = dict(cutout=dict(type="Cutout", size=0.5))
