"""Faster R-CNN without FPN (C4) on VOC07+12 trainval, tested on VOC07 test: mmdet's and Detectron2's 18k iterations.

The RPN uses the stride-16 features of stage 4, and stage 5 of the backbone is the RoI head (1506.01497; 1512.03385).
Command: torchrun --nproc_per_node 8 -m det.train voc0712_c4 --checkpoint backbone.safetensors
    --data data/VOCdevkit --work-dir runs/voc-c4
Expected: 80.9 mAP (11 points; mmdet's README, Caffe weights), 80.3 (Detectron2). GluonCV's variant has 78.3 from
ResNet-50-B with one scale of 600, lr 0.001, batch 4, 20 epochs. Not run in this project, which has no ImageNet weights.
"""

_base_ = [
    "mmdet::pascal_voc/faster-rcnn_r50-caffe-c4_ms-18k_voc0712.py",
    "../../engine/dense/configs/common.py",
]

image_scale = (1333, 800)
# One scale is drawn for each training image.
train_scales = [(1333, short) for short in range(480, 801, 32)]
box_min_size = None
model = dict(
    type="FasterRCNNC4",
    backbone=dict(
        _delete_=True,
        type="TransferBackbone",
        spec="resnet50_b",
        out_indices=(2,),
        frozen_stages=1,
    ),
    # The detector inserts the backbone's last stage here.
    roi_head=dict(shared_head=None),
)
batch_norm = "frozen"
lr = 0.02
weight_decay = 1e-4
# Decided by the two keys above instead of the base config.
optim_wrapper = dict(optimizer=dict(lr=None, weight_decay=None))
# lr is for a batch of 16; fewer devices accumulate it from several passes (engine/runner/batch.py).
auto_scale_lr = dict(enable=True, base_batch_size=16)
val_evaluator = dict(_delete_=True, type="DetectionMetric", eval_mode="11points")
