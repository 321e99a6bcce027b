"""Ways to take a backbone over: fine-tuned whole, frozen, with smaller steps below; from all images and from a tenth.

Command: bash benchmarks/run_all.sh transfer-mini
Every pretrained row has the one classifier of a seed; it is trained once.
"""

base = "mini"
title = "Protocols of transfer, mini"
description = (
    "One pretrained backbone, taken over in three ways, from all images and from a tenth; the same "
    "number of steps for all."
)
seeds = [0, 1, 2]
intended = dict(protocol="the table is about it")
_few = dict(det_tricks=["few_shot_10"], seg_tricks=["few_shot_10"])
rows = [
    dict(name="scratch", backbone="resnet10_d-w24", pretrain=False, note="control: no pretraining"),
    dict(
        name="fine-tuned",
        backbone="resnet10_d-w24",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
    ),
    dict(
        name="layer_decay",
        like="fine-tuned",
        backbone="resnet10_d-w24",
        det_tricks=["layer_decay"],
        seg_tricks=["layer_decay"],
    ),
    dict(
        name="frozen",
        like="fine-tuned",
        backbone="resnet10_d-w24",
        det_tricks=["frozen_backbone"],
        seg_tricks=["frozen_backbone"],
    ),
    dict(name="scratch-10", like="scratch", backbone="resnet10_d-w24", **_few),
    dict(name="fine-tuned-10", like="fine-tuned", backbone="resnet10_d-w24", **_few),
    dict(
        name="frozen-10",
        like="fine-tuned",
        backbone="resnet10_d-w24",
        det_tricks=["frozen_backbone", "few_shot_10"],
        seg_tricks=["frozen_backbone", "few_shot_10"],
    ),
]
