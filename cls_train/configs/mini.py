"""The embedded mini data: the paper's recipe at 64 px, short enough for two CPU cores.

Command: python -m cls_train.train mini --backbone resnet10_b-w24 --recipe standard
    --data data/miniworld/mini/cls --work-dir runs/mini-cls
"""

_base_ = "imagenet.py"

epochs = 5
batch_size = 32
image_size = 64
test_resize_ratio = 1.0
lr = 0.1
# Later than in the paper: with so few iterations, an early drop would stop the learning.
schedule = dict(milestones=[0.6, 0.85])

train_pipeline = dict(
    crop=dict(scale=(0.35, 1.0)),
    # Colours are random in miniworld, and changing them would cost more than the rest of the pipeline.
    jitter=None,
    pca=None,
)

warmup_epochs = 1

decoder = "turbo"
workers = 1
validate_every_epochs = 2
