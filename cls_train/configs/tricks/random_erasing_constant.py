"""Random erasing with black (RE-0 of Zhong et al., 1708.04896); see `random_erasing`.

Source: 1708.04896
Library: torchvision `RandomErasing`
Test: tests/cls_train/test_transforms.py
"""

train_pipeline = dict(
    erasing=dict(type="Erasing", fill="constant", p=0.5, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3))
)
