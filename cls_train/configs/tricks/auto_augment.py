"""AutoAugment: one of 25 learnt pairs of operations, the policy for ImageNet (Cubuk et al., 1805.09501; torchvision)."""

train_pipeline = dict(policy=dict(type="AutoAugment"))
