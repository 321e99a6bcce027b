"""Transfer protocols: fine-tuning, frozen backbone, layer-wise decay; with all images and with a tenth.

Command: bash benchmarks/run_all.sh transfer-mini All pretrained rows share the classifier of a seed, which is trained
    once.
"""

base = "mini"
title = "Protocols of transfer, mini"
description = (
    "One pretrained backbone, taken over in three ways, from all images and from a tenth; the same "
    "number of steps for all."
)
seeds = [0, 1, 2]
intended = dict(protocol="the table is about it")
_backbone = dict(backbone="resnet10_d-w24")
_few = ["few_shot_10"]
_frozen = ["frozen_backbone"]
rows = [
    dict(name="scratch", pretrain=False, note="control: no pretraining", **_backbone),
    dict(
        name="fine-tuned",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
        **_backbone,
    ),
    dict(
        name="layer_decay",
        like="fine-tuned",
        det=dict(tricks=["layer_decay"]),
        seg=dict(tricks=["layer_decay"]),
        **_backbone,
    ),
    dict(
        name="frozen",
        like="fine-tuned",
        det=dict(tricks=_frozen),
        seg=dict(tricks=_frozen),
        **_backbone,
    ),
    dict(
        name="scratch-10", like="scratch", det=dict(tricks=_few), seg=dict(tricks=_few), **_backbone
    ),
    dict(
        name="fine-tuned-10",
        like="fine-tuned",
        det=dict(tricks=_few),
        seg=dict(tricks=_few),
        **_backbone,
    ),
    dict(
        name="frozen-10",
        like="fine-tuned",
        det=dict(tricks=[*_frozen, *_few]),
        seg=dict(tricks=[*_frozen, *_few]),
        **_backbone,
    ),
]
