"""Table 4 on the embedded data: the heuristics of efficient training, added one by one.

Command: bash benchmarks/run_all.sh table4-mini
"""

base = "table2-mini"
title = "Table 4, mini: heuristics of efficient training"
description = "A small ResNet at batch 32 and 128, in the place of the paper's 256 and 1024."
intended = dict(precision="the last row of each batch size is about it")
_linear = ["linear_scaling"]
_warmup = [*_linear, "warmup"]
_gamma = [*_warmup, "zero_gamma"]
_decay = [*_gamma, "no_bias_decay"]
_large = ["large_batch"]
_resnet = dict(backbone="resnet14-w16", recipe="standard")
_fp32 = dict(precision="fp32", **_resnet)
rows = [
    dict(name="32-linear-scaling", tricks=_linear, **_fp32),
    dict(name="32+warmup", tricks=_warmup, **_fp32),
    dict(name="32+zero-gamma", tricks=_gamma, **_fp32),
    dict(name="32+no-bias-decay", tricks=_decay, **_fp32),
    dict(name="32+mixed-precision", tricks=_decay, **_resnet),
    dict(name="128-linear-scaling", tricks=[*_large, *_linear], **_fp32),
    dict(name="128+warmup", tricks=[*_large, *_warmup], **_fp32),
    dict(name="128+zero-gamma", tricks=[*_large, *_gamma], **_fp32),
    dict(name="128+no-bias-decay", tricks=[*_large, *_decay], **_fp32),
    dict(name="128+mixed-precision", tricks=[*_large, *_decay], **_resnet),
]
