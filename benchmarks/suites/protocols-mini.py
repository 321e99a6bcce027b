"""The same network under every protocol: three detection averages, three ways to test a segmentor.

Command: bash benchmarks/run_all.sh protocols-mini
On photographs, with folders in the layouts of docs/data.md:
    bash benchmarks/run_all.sh protocols-mini --cls-data DIR --det-data DIR --seg-data DIR
The C4 detector is in `protocols-c4-mini`, which reuses the classifiers of this suite.
"""

base = "mini"
title = "Protocols side by side, mini"
description = "From random weights and from a pretrained backbone. A sliding row has the detector of the row above it."
seeds = [0, 1, 2]
columns = [
    *("top1", "voc07_map", "voc10_map", "coco_ap", "coco_ap50", "coco_ap75"),
    *("pixacc", "macc", "miou", "miou_ms"),
]
intended = dict(protocol="the table is about it")
rows = [
    dict(
        name="scratch",
        backbone="resnet10_d-w24",
        pretrain=False,
        seg_tricks=["multi_scale_flip"],
        note="control: no pretraining",
    ),
    dict(name="scratch-sliding", like="scratch", backbone="resnet10_d-w24", seg_tricks=["sliding"]),
    dict(
        name="pretrained",
        backbone="resnet10_d-w24",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
        seg_tricks=["multi_scale_flip"],
    ),
    dict(
        name="pretrained-sliding",
        like="pretrained",
        backbone="resnet10_d-w24",
        seg_tricks=["sliding"],
    ),
]
