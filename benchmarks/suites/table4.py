"""Table 4 of "Bag of Tricks …" (arXiv 1812.01187): the heuristics of efficient training, added one by one.

Command: bash benchmarks/run_all.sh table4
Data: data/imagenet. Days on eight GPUs.
"""

base = "table2"
title = "Table 4: heuristics of efficient training"
description = (
    "ResNet-50 at batch 256 and 1024. At 256 linear scaling changes nothing. The text says that scaling alone "
    "costs 0.9 points at 1024, the table 0.70; with no bias decay top-1 falls there from 76.37 to 76.03."
)
intended = dict(precision="the last row of each batch size is about it")
_linear = ["linear_scaling"]
_warmup = [*_linear, "warmup"]
_gamma = [*_warmup, "zero_gamma"]
_decay = [*_gamma, "no_bias_decay"]
_large = ["large_batch"]
_resnet = dict(backbone="resnet50", recipe="standard")
_fp32 = dict(precision="fp32", **_resnet)
_fp32_256 = dict(gpu_hours=13.3 * 8 * 120 / 60, **_fp32)
rows = [
    dict(
        name="256-linear-scaling",
        tricks=_linear,
        reference=dict(top1=75.87, top5=92.70),
        **_fp32_256,
    ),
    dict(name="256+warmup", tricks=_warmup, reference=dict(top1=76.03, top5=92.81), **_fp32_256),
    dict(name="256+zero-gamma", tricks=_gamma, reference=dict(top1=76.19, top5=93.03), **_fp32_256),
    dict(
        name="256+no-bias-decay", tricks=_decay, reference=dict(top1=76.16, top5=92.97), **_fp32_256
    ),
    dict(
        name="256+mixed-precision", tricks=_decay, reference=dict(top1=76.15, top5=93.09), **_resnet
    ),
    dict(
        name="1024-linear-scaling",
        tricks=[*_large, *_linear],
        reference=dict(top1=75.17, top5=92.54),
        **_fp32,
    ),
    dict(
        name="1024+warmup",
        tricks=[*_large, *_warmup],
        reference=dict(top1=75.93, top5=92.84),
        **_fp32,
    ),
    dict(
        name="1024+zero-gamma",
        tricks=[*_large, *_gamma],
        reference=dict(top1=76.37, top5=92.96),
        **_fp32,
    ),
    dict(
        name="1024+no-bias-decay",
        tricks=[*_large, *_decay],
        reference=dict(top1=76.03, top5=92.86),
        **_fp32,
    ),
    dict(
        name="1024+mixed-precision",
        backbone="resnet50",
        recipe="efficient",
        reference=dict(top1=76.21, top5=92.97),
        gpu_hours=4.4 * 8 * 120 / 60,
    ),
]
