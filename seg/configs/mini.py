"""The embedded mini data: the same FCN with narrow heads at 128 px, for two CPU cores."""

_base_ = "ade20k.py"

image_scale = (160, 160)
resize_range = (0.8, 1.5)
crop_size = (128, 128)
model = dict(
    decode_head=dict(channels=64),
    auxiliary_head=dict(channels=32),
)
train_dataloader = dict(batch_size=8, num_workers=1)
# mmseg cannot batch test images of different sizes.
val_dataloader = dict(batch_size=1, num_workers=1)
train_cfg = dict(max_iters=128, val_interval=64)
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=128, by_epoch=False)]
lr = 0.1
default_hooks = dict(checkpoint=dict(interval=32))
auto_scale_lr = dict(base_batch_size=8)
