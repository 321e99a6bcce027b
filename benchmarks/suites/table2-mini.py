"""Table 2 on the embedded data: the baseline on small siblings of the three networks.

Command: bash benchmarks/run_all.sh table2-mini
"""

base = "table2"
title = "Table 2, mini: the baseline"
description = (
    "Small networks of the three families on generated images of 64 pixels, batch 32, 5 epochs."
)
tasks = dict(cls=dict(config="cls_train/configs/mini.py", data="cls"))
datasets = dict(
    cls=dict(
        kind="imagefolder",
        path="data/miniworld/mini/cls",
        generate="mini",
        smoke=dict(path="data/miniworld/mini-smoke/cls", generate="mini-smoke"),
    )
)
intended = dict()
rows = [
    dict(name="ResNet-14", backbone="resnet14-w16", recipe="standard", precision="fp32"),
    dict(name="Inception-V3", backbone="inception_v3-x0.25", recipe="standard", precision="fp32"),
    dict(name="MobileNet", backbone="mobilenet_v1-x0.5", recipe="standard", precision="fp32"),
]
