"""Faster R-CNN with FPN on VOC07+12 trainval, tested on VOC07 test: mmdet's own schedule (12 epochs).

Paper: Ren et al. 1506.01497, Lin et al. 1612.03144; the transfer of Table 8 of 1812.01187.
Command: torchrun --nproc_per_node 8 -m det.train voc0712 --checkpoint backbone.safetensors
    --data data/VOCdevkit --work-dir runs/voc
Expected: 80.1 ± 0.5 mAP (11 points) from torchvision's ResNet-50 (mmdet's maintainer, four runs). Not run in this
project, which has no ImageNet weights.
"""

_base_ = [
    "mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py",
    "../../engine/dense/configs/common.py",
]

image_scale = (1000, 600)
# Smaller boxes are ignored in training (mmdet's value).
box_min_size = 32
model = dict(
    backbone=dict(
        _delete_=True,
        type="TransferBackbone",
        spec="resnet50_b",
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
    )
)
batch_norm = "frozen"
lr = 0.01
weight_decay = 1e-4
# Decided by the two keys above instead of the base config.
optim_wrapper = dict(optimizer=dict(lr=None, weight_decay=None))
# lr is for a batch of 16; fewer devices accumulate it from several passes (engine/runner/batch.py).
auto_scale_lr = dict(enable=True, base_batch_size=16)
val_evaluator = dict(_delete_=True, type="DetectionMetric", eval_mode="11points")
