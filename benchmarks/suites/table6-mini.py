"""Table 6 on the embedded data: training refinements on small siblings of the three networks.

Command: bash benchmarks/run_all.sh table6-mini
"""

base = "table2-mini"
title = "Table 6, mini: training refinements"
description = (
    "Small networks of the three families; the teacher is a ResNet-26-D of twice the width."
)
# By the efficient recipe so deep a network stays at chance here: 155 steps, at rates of up to 0.4.
teachers = [
    dict(
        name="ResNet-26-D",
        backbone="resnet26_d-w32",
        recipe="standard",
        tricks=["lars", "warmup", "cosine", "label_smoothing"],
    ),
    dict(
        name="ResNet-26-D-mixup",
        backbone="resnet26_d-w32",
        recipe="standard",
        tricks=["lars", "warmup", "cosine", "label_smoothing", "mixup"],
    ),
]
rows = [
    dict(
        name="ResNet-14-D-efficient",
        backbone="resnet14_d-w16",
        recipe="efficient",
    ),
    dict(
        name="ResNet-14-D+cosine",
        backbone="resnet14_d-w16",
        recipe="efficient",
        tricks=["cosine"],
    ),
    dict(
        name="ResNet-14-D+smooth",
        backbone="resnet14_d-w16",
        recipe="efficient",
        tricks=["cosine", "label_smoothing"],
    ),
    dict(
        name="ResNet-14-D+distill-no-mixup",
        backbone="resnet14_d-w16",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "distillation"],
        teacher="ResNet-26-D",
    ),
    dict(
        name="ResNet-14-D+mixup-no-distill",
        backbone="resnet14_d-w16",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
    ),
    dict(
        name="ResNet-14-D+distill-and-mixup",
        backbone="resnet14_d-w16",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup", "distillation"],
        teacher="ResNet-26-D-mixup",
    ),
    dict(
        name="Inception-V3-efficient",
        backbone="inception_v3-x0.25",
        recipe="efficient",
    ),
    dict(
        name="Inception-V3+cosine",
        backbone="inception_v3-x0.25",
        recipe="efficient",
        tricks=["cosine"],
    ),
    dict(
        name="Inception-V3+smooth",
        backbone="inception_v3-x0.25",
        recipe="efficient",
        tricks=["cosine", "label_smoothing"],
    ),
    dict(
        name="Inception-V3+distill-no-mixup",
        backbone="inception_v3-x0.25",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "distillation"],
        teacher="ResNet-26-D",
    ),
    dict(
        name="Inception-V3+mixup-no-distill",
        backbone="inception_v3-x0.25",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
    ),
    dict(
        name="Inception-V3+distill-and-mixup",
        backbone="inception_v3-x0.25",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup", "distillation"],
        teacher="ResNet-26-D-mixup",
    ),
    dict(
        name="MobileNet-efficient",
        backbone="mobilenet_v1-x0.5",
        recipe="efficient",
    ),
    dict(
        name="MobileNet+cosine",
        backbone="mobilenet_v1-x0.5",
        recipe="efficient",
        tricks=["cosine"],
    ),
    dict(
        name="MobileNet+smooth",
        backbone="mobilenet_v1-x0.5",
        recipe="efficient",
        tricks=["cosine", "label_smoothing"],
    ),
    dict(
        name="MobileNet+distill-no-mixup",
        backbone="mobilenet_v1-x0.5",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "distillation"],
        teacher="ResNet-26-D",
    ),
    dict(
        name="MobileNet+mixup-no-distill",
        backbone="mobilenet_v1-x0.5",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
    ),
    dict(
        name="MobileNet+distill-and-mixup",
        backbone="mobilenet_v1-x0.5",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup", "distillation"],
        teacher="ResNet-26-D-mixup",
    ),
]
