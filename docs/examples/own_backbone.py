"""Does my backbone transfer? EfficientNet-Lite0 from random, from CIFAR-10 and from ImageNet weights.

bash benchmarks/run_all.sh docs/examples/own_backbone.py --cls-data DIR --det-data DIR --seg-data DIR
"""

base = "mini"
title = "Does EfficientNet-Lite0 transfer?"
description = "One network, three starts; all else is equal."
seeds = [0, 1, 2]
rows = [
    dict(
        name="scratch",
        backbone="timm:tf_efficientnet_lite0",
        pretrain=False,
        note="control: no pretraining",
    ),
    dict(
        name="cifar10",
        backbone="timm:tf_efficientnet_lite0",
        recipe="efficient",
        tricks=["cosine", "label_smoothing"],
    ),
    dict(
        name="imagenet",
        backbone="timm:tf_efficientnet_lite0",
        weights="../../data/efficientnet_lite0.safetensors",
    ),
]
