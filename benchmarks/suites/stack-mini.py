"""The paper's tricks stacked one on the other, from the baseline to distillation.

Command: bash benchmarks/run_all.sh stack-mini
On photographs of your own, with folders {train,val}/<class>/:
    bash benchmarks/run_all.sh stack-mini --cls-data DIR
"""

base = "table2-mini"
title = "Tricks stacked, mini"
description = "A small ResNet, each row with one trick more than the row above it; mixed precision in all rows."
seeds = [0, 1, 2]
teachers = [
    dict(
        name="teacher",
        backbone="resnet26_d-w32",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
    ),
]
rows = [
    dict(name="baseline", backbone="resnet10_b-w24", recipe="standard"),
    dict(name="+efficient", backbone="resnet10_b-w24", recipe="efficient"),
    dict(name="+D", backbone="resnet10_d-w24", recipe="efficient"),
    dict(name="+cosine", backbone="resnet10_d-w24", recipe="efficient", tricks=["cosine"]),
    dict(
        name="+smoothing",
        backbone="resnet10_d-w24",
        recipe="efficient",
        tricks=["cosine", "label_smoothing"],
    ),
    dict(
        name="+mixup",
        backbone="resnet10_d-w24",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
    ),
    dict(
        name="+distillation",
        backbone="resnet10_d-w24",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup", "distillation"],
        teacher="teacher",
    ),
]
