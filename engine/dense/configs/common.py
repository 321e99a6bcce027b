"""The keys that every dense task has, at the values that change nothing.

`lr`, `weight_decay` and `clip_grad` are short names of what mmengine's `optim_wrapper` holds (engine/short_keys.py).
"""

clip_grad = None
ema = None
# Of the backbone: 'frozen' keeps the stored statistics, 'trained' moves them, 'synchronised' moves them by the batch of
# all GPUs together.
batch_norm = "frozen"
# Test on held-out training images, as the trick `holdout` does.
holdout = False
# Protocols besides fine-tuning the whole backbone on all images: the tricks `frozen_backbone`, `few_shot_10` … and
# `layer_decay`.
frozen_backbone = False
train_fraction = None
layer_decay = None
budgets = dict()
