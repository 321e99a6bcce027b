"""RandAugment: N = 2 operations of strength M = 9, as for ResNet-50 in Cubuk et al. (1909.13719; torchvision).

torchvision has 31 levels of strength and the paper 10, so magnitude 9 is three tenths of torchvision's range.

Source: 1909.13719
Library: torchvision `RandAugment`
Test: tests/cls_train/test_transforms_augment.py
"""

train_pipeline = dict(policy=dict(type="RandAugment", num_ops=2, magnitude=9))
