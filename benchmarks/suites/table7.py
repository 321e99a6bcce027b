"""Table 7 of "Bag of Tricks …" (arXiv 1812.01187): the refinements on MIT Places365.

Command: bash benchmarks/run_all.sh table7
Data: data/places365/{train,val}/<class>/*.jpg, 365 classes. Days on eight GPUs.
"""

base = "table2"
title = "Table 7: Places365"
description = (
    'ResNet-50-D trained efficiently, and with cosine decay, smoothing and mixup ("best"). On the test set, '
    "whose labels are not public, the paper has 57.18 / 87.28 and 57.63 / 87.82."
)
datasets = dict(
    cls=dict(
        kind="imagefolder",
        path="data/places365",
        smoke=dict(path="data/miniworld/fullsize-smoke/cls", generate="fullsize-smoke"),
    )
)
intended = dict()
rows = [
    dict(
        name="efficient",
        backbone="resnet50_d",
        recipe="efficient",
        reference=dict(top1=56.34, top5=86.87),
    ),
    dict(
        name="best",
        backbone="resnet50_d",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
        reference=dict(top1=56.70, top5=87.33),
    ),
]
