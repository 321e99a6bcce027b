"""TrivialAugment, wide: one random operation of random strength (Müller and Hutter, 2103.10158; torchvision).

Source: 2103.10158
Library: torchvision `TrivialAugmentWide`
Test: tests/cls_train/test_transforms_augment.py
"""

train_pipeline = dict(policy=dict(type="TrivialAugmentWide"))
