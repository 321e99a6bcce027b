"""The paper's tricks added one by one, from the baseline to distillation.

Command: bash benchmarks/run_all.sh stack-mini On your own photographs, with folders {train,val}/<class>/:
    bash benchmarks/run_all.sh stack-mini --cls-data DIR
"""

base = "table2-mini"
title = "Tricks stacked, mini"
description = "A small ResNet, each row with one trick more than the row above it; mixed precision in all rows."
seeds = [0, 1, 2]
_cosine = ["cosine"]
_smooth = [*_cosine, "label_smoothing"]
_mixup = [*_smooth, "mixup"]
_both = [*_mixup, "distillation"]
_resnet = dict(backbone="resnet10_d-w24", recipe="efficient")
teachers = [dict(name="teacher", backbone="resnet26_d-w32", recipe="efficient", tricks=_mixup)]
rows = [
    dict(name="baseline", backbone="resnet10_b-w24", recipe="standard"),
    dict(name="+efficient", backbone="resnet10_b-w24", recipe="efficient"),
    dict(name="+D", **_resnet),
    dict(name="+cosine", tricks=_cosine, **_resnet),
    dict(name="+smoothing", tricks=_smooth, **_resnet),
    dict(name="+mixup", tricks=_mixup, **_resnet),
    dict(name="+distillation", tricks=_both, teacher="teacher", **_resnet),
]
