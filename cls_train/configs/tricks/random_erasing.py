"""Random erasing with noise: a rectangle of 2% to 40% of the area, aspect 0.3 to 3.3, in half of the images.

Every erased pixel is drawn from U[0, 255] (RE-R of Zhong et al., 1708.04896).

Source: 1708.04896
Library: torchvision `RandomErasing`, with our noise
Test: tests/cls_train/test_transforms.py
"""

train_pipeline = dict(
    erasing=dict(type="Erasing", fill="noise", p=0.5, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3))
)
