"""TrivialAugment, wide: one random operation of random strength (Müller and Hutter, 2103.10158; torchvision)."""

train_pipeline = dict(policy=dict(type="TrivialAugmentWide"))
