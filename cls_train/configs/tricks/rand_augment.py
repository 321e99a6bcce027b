"""RandAugment: N = 2 operations of strength M = 9, the paper's for ResNet-50 (Cubuk et al., 1909.13719; torchvision).

torchvision's strengths have 31 steps, the paper's 10: magnitude 9 is three tenths of its range.

Source: 1909.13719
Library: torchvision `RandAugment`
Test: tests/cls_train/test_transforms_augment.py
"""

train_pipeline = dict(policy=dict(type="RandAugment", num_ops=2, magnitude=9))
