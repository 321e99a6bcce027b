"""The C4 detector (the backbone's last stage as RoI head) from random weights and from a pretrained backbone.

Command: bash benchmarks/run_all.sh protocols-c4-mini
"""

base = "protocols-mini"
title = "Protocols side by side, mini: C4"
description = "Faster R-CNN without a pyramid; all else as in protocols-mini."
tasks = dict(det=dict(config="det/configs/mini_c4.py", data="det"), seg=None)
columns = ["top1", "voc07_map", "voc10_map", "coco_ap", "coco_ap50", "coco_ap75"]
rows = [
    dict(name="scratch", backbone="resnet10_d-w24", pretrain=False, note="control: no pretraining"),
    dict(
        name="pretrained",
        backbone="resnet10_d-w24",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
    ),
]
