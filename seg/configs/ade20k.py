"""FCN at output stride 8 with auxiliary head on ADE20K: mmseg's own schedule (80k iterations, batch 16).

Paper: Long et al. 1411.4038, dilation as in PSPNet 1612.01105; the transfer of Table 9 of 1812.01187.
Command: torchrun --nproc_per_node 4 -m seg.train ade20k --checkpoint backbone.safetensors
    --data data/ADEChallengeData2016 --work-dir runs/ade
Expected: 35.9 mIoU single-scale from ResNet-50-C (mmseg's README). Not run in this project, which has no ADE20K.
"""

_base_ = [
    "mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py",
    "../../engine/dense/configs/common.py",
]

image_scale = (2048, 512)
resize_range = (0.5, 2.0)
crop_size = (512, 512)
model = dict(
    # The base config would load its ResNet's weights into this backbone.
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type="TransferBackbone",
        spec="resnet50_d",
        out_indices=(0, 1, 2, 3),
        output_stride=8,
    ),
)
val_evaluator = dict(_delete_=True, type="SegmentationMetric")
# No image may be counted by two processes.
val_dataloader = dict(sampler=dict(round_up=False))
batch_norm = "synchronised"
lr = 0.01
weight_decay = 5e-4
# Decided by the two keys above instead of the base config.
optim_wrapper = dict(optimizer=dict(lr=None, weight_decay=None))
# lr is for a batch of 16; fewer devices accumulate it from several passes (engine/runner/batch.py).
auto_scale_lr = dict(enable=True, base_batch_size=16)
# Further test protocols; set by the tricks `multi_scale_flip` and `sliding`.
multi_scale = None
sliding = None
# Only one test image, of up to 2048×512, because it is the slowest step of a smoke run on a CPU.
budgets = dict(smoke=dict(test_images=1))
