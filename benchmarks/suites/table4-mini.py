"""Table 4 on the embedded data: the heuristics of efficient training, one on the other.

Command: bash benchmarks/run_all.sh table4-mini
"""

base = "table2-mini"
title = "Table 4, mini: heuristics of efficient training"
description = "A small ResNet at batch 32 and 128, in the place of the paper's 256 and 1024."
intended = dict(precision="the last row of each batch size is about it")
rows = [
    dict(
        name="32-linear-scaling",
        backbone="resnet14-w16",
        recipe="standard",
        tricks=["linear_scaling"],
        precision="fp32",
    ),
    dict(
        name="32+warmup",
        backbone="resnet14-w16",
        recipe="standard",
        tricks=["linear_scaling", "warmup"],
        precision="fp32",
    ),
    dict(
        name="32+zero-gamma",
        backbone="resnet14-w16",
        recipe="standard",
        tricks=["linear_scaling", "warmup", "zero_gamma"],
        precision="fp32",
    ),
    dict(
        name="32+no-bias-decay",
        backbone="resnet14-w16",
        recipe="standard",
        tricks=["linear_scaling", "warmup", "zero_gamma", "no_bias_decay"],
        precision="fp32",
    ),
    dict(
        name="32+mixed-precision",
        backbone="resnet14-w16",
        recipe="standard",
        tricks=["linear_scaling", "warmup", "zero_gamma", "no_bias_decay"],
    ),
    dict(
        name="128-linear-scaling",
        backbone="resnet14-w16",
        recipe="standard",
        tricks=["large_batch", "linear_scaling"],
        precision="fp32",
    ),
    dict(
        name="128+warmup",
        backbone="resnet14-w16",
        recipe="standard",
        tricks=["large_batch", "linear_scaling", "warmup"],
        precision="fp32",
    ),
    dict(
        name="128+zero-gamma",
        backbone="resnet14-w16",
        recipe="standard",
        tricks=["large_batch", "linear_scaling", "warmup", "zero_gamma"],
        precision="fp32",
    ),
    dict(
        name="128+no-bias-decay",
        backbone="resnet14-w16",
        recipe="standard",
        tricks=["large_batch", "linear_scaling", "warmup", "zero_gamma", "no_bias_decay"],
        precision="fp32",
    ),
    dict(
        name="128+mixed-precision",
        backbone="resnet14-w16",
        recipe="standard",
        tricks=["large_batch", "linear_scaling", "warmup", "zero_gamma", "no_bias_decay"],
    ),
]
