"""Table 5 on the embedded data: the tweaks of ResNet, with size and cost.

Command: bash benchmarks/run_all.sh table5-mini
"""

base = "table2-mini"
title = "Table 5, mini: model tweaks"
description = (
    "ResNet-14 (one bottleneck block a stage, width 16) and its tweaks, trained efficiently."
)
columns = ["top1", "top5", "multiply_adds"]
rows = [
    dict(name="ResNet-14", backbone="resnet14-w16", recipe="efficient"),
    dict(name="ResNet-14-B", backbone="resnet14_b-w16", recipe="efficient"),
    dict(name="ResNet-14-C", backbone="resnet14_c-w16", recipe="efficient"),
    dict(name="ResNet-14-D", backbone="resnet14_d-w16", recipe="efficient"),
]
