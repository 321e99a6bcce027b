"""AutoAugment: one of 25 learnt pairs of operations, the policy for ImageNet (Cubuk et al., 1805.09501; torchvision).

Source: 1805.09501
Library: torchvision `AutoAugment`
Test: tests/cls_train/test_transforms_augment.py
"""

train_pipeline = dict(policy=dict(type="AutoAugment"))
