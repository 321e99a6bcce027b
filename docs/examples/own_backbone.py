"""Does my backbone transfer? EfficientNet-Lite0 from random, from CIFAR-10 and from ImageNet weights.

The weights (docs/backbones.md): python -m backbones import timm:tf_efficientnet_lite0 efficientnet-lite0-57934424.pth \
    --by-order --normalisation inception --out data/efficientnet_lite0.safetensors
The detector's learning rate for each row, on held-out training images; with DATA for the three --…-data DIR:
    python -m benchmarks sweep docs/examples/own_backbone.py --stage det --factors 0.03 0.1 0.3 1 3 DATA
All seeds: bash benchmarks/run_all.sh runs/own_backbone-sweep-det/own_backbone-det-lr.py
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
