"""The embedded suite: generated data and small networks; takes minutes on two CPU cores.

Command: bash benchmarks/run_all.sh
"""

title = "TrickBench mini"
description = (
    "ResNet-10 of reduced width on generated images: from random weights, pretrained plainly, and "
    "pretrained with tricks."
)
tasks = dict(
    cls=dict(config="cls_train/configs/mini.py", data="cls"),
    det=dict(config="det/configs/mini.py", data="det"),
    seg=dict(config="seg/configs/mini.py", data="seg"),
)
datasets = dict(
    cls=dict(
        kind="imagefolder",
        path="data/miniworld/mini/cls",
        generate="mini",
        smoke=dict(path="data/miniworld/mini-smoke/cls", generate="mini-smoke"),
    ),
    det=dict(
        kind="voc",
        path="data/miniworld/mini/VOCdevkit",
        generate="mini",
        smoke=dict(path="data/miniworld/mini-smoke/VOCdevkit", generate="mini-smoke"),
    ),
    seg=dict(
        kind="ade20k",
        path="data/miniworld/mini/ADEChallengeData2016",
        generate="mini",
        smoke=dict(path="data/miniworld/mini-smoke/ADEChallengeData2016", generate="mini-smoke"),
    ),
)
seeds = [0]
rows = [
    dict(name="scratch", backbone="resnet10_b-w24", pretrain=False, note="control: no pretraining"),
    dict(name="standard", backbone="resnet10_b-w24", recipe="standard"),
    dict(
        name="tricks",
        backbone="resnet10_d-w24",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
    ),
]
