"""Table 3 on the embedded data: efficient training against the baseline, with its time.

Command: bash benchmarks/run_all.sh table3-mini
"""

base = "table2-mini"
title = "Table 3, mini: efficient training"
description = (
    "Batch 128 with the heuristics of Table 4 and mixed precision, against batch 32 in float32. Minutes are "
    "of cells that may run beside one another; `python -m benchmarks.scripts.speed` measures precision by itself."
)
columns = ["top1", "top5", "epoch_minutes"]
intended = dict(precision="the table is about it")
_efficient = dict(recipe="efficient")
_baseline = dict(recipe="standard", precision="fp32")
rows = [
    dict(name="ResNet-14-efficient", backbone="resnet14-w16", **_efficient),
    dict(name="ResNet-14-baseline", backbone="resnet14-w16", **_baseline),
    dict(name="Inception-V3-efficient", backbone="inception_v3-x0.25", **_efficient),
    dict(name="Inception-V3-baseline", backbone="inception_v3-x0.25", **_baseline),
    dict(name="MobileNet-efficient", backbone="mobilenet_v1-x0.5", **_efficient),
    dict(name="MobileNet-baseline", backbone="mobilenet_v1-x0.5", **_baseline),
]
