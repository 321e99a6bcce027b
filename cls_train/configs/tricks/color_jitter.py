"""GluonCV's colour jitter: brightness, contrast and saturation × U[0.6, 1.4] each.

The paper's text (§2.1) and the base config use hue instead of contrast.

Source: GluonCV
Library: torchvision `ColorJitter`
Test: tests/cls_train/test_transforms_augment.py
"""

train_pipeline = dict(
    jitter=dict(_delete_=True, type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4)
)
