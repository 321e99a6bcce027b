"""Keys of every dense task, with values that change nothing.

`lr`, `weight_decay` and `clip_grad` are short names of values in mmengine's `optim_wrapper` (engine/short_keys.py).
"""

clip_grad = None
ema = None
# Batch norm of the backbone: 'frozen' keeps the stored statistics, 'trained' updates them, and 'synchronised' updates
# them with the batch of all GPUs.
batch_norm = "frozen"
# Most images in a forward pass on one device; None chooses from its memory (engine/runner/batch.py).
device_batch_size = None
# Test on held-out training images; the trick `holdout` sets this.
holdout = False
# Alternatives to fine-tuning the whole backbone on all images; set by the tricks `frozen_backbone`, `few_shot_10` …
# and `layer_decay`.
frozen_backbone = False
train_fraction = None
layer_decay = None
budgets = dict()
