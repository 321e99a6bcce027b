"""The embedded mini data: the same detector with narrow heads at 160 px, for two CPU cores."""

_base_ = "voc0712.py"

image_scale = (160, 160)
box_min_size = 4
model = dict(
    backbone=dict(frozen_stages=0),
    neck=dict(out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=2)),
        bbox_head=dict(in_channels=64, fc_out_channels=256),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=300, max_per_img=150),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100), rcnn=dict(max_per_img=50)),
)
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(times=1))
val_dataloader = dict(batch_size=8, num_workers=1)
train_cfg = dict(max_epochs=4, val_interval=2)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=40),
    dict(type="MultiStepLR", begin=0, end=4, by_epoch=True, milestones=[3], gamma=0.1),
]
lr = 0.02
clip_grad = dict(_delete_=True, max_norm=10.0)
auto_scale_lr = dict(base_batch_size=4)
