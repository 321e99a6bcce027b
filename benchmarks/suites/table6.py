"""Table 6 of "Bag of Tricks …" (arXiv 1812.01187): training refinements on three networks.

Command: bash benchmarks/run_all.sh table6
Data: data/imagenet. Weeks on eight GPUs.
"""

base = "table2"
title = "Table 6: training refinements"
description = (
    "The caption says that refinements are stacked; distillation and mixup are alternatives on top of "
    "smoothing. GPU-hours are ResNet-50's, Inception-V3's and MobileNet's minutes of Table 3, without the "
    "teacher's part, which the paper does not tell."
)
teachers = [
    dict(
        name="ResNet-152-D",
        backbone="resnet152_d",
        recipe="efficient",
        tricks=["cosine", "label_smoothing"],
    ),
    dict(
        name="ResNet-152-D-mixup",
        backbone="resnet152_d",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
    ),
]
rows = [
    dict(
        name="ResNet-50-D-efficient",
        backbone="resnet50_d",
        recipe="efficient",
        reference=dict(top1=77.16, top5=93.52),
        gpu_hours=4.4 * 8 * 120 / 60,
    ),
    dict(
        name="ResNet-50-D+cosine",
        backbone="resnet50_d",
        recipe="efficient",
        tricks=["cosine"],
        reference=dict(top1=77.91, top5=93.81),
        gpu_hours=4.4 * 8 * 120 / 60,
    ),
    dict(
        name="ResNet-50-D+smooth",
        backbone="resnet50_d",
        recipe="efficient",
        tricks=["cosine", "label_smoothing"],
        reference=dict(top1=78.31, top5=94.09),
        gpu_hours=4.4 * 8 * 120 / 60,
        note="Top-1 is 78.31 here, 78.34 in Tables 8 and 9.",
    ),
    dict(
        name="ResNet-50-D+distill-no-mixup",
        backbone="resnet50_d",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "distillation"],
        teacher="ResNet-152-D",
        reference=dict(top1=78.67, top5=94.36),
        gpu_hours=4.4 * 8 * 120 / 60,
    ),
    dict(
        name="ResNet-50-D+mixup-no-distill",
        backbone="resnet50_d",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
        reference=dict(top1=79.15, top5=94.58),
        gpu_hours=4.4 * 8 * 200 / 60,
        note="Top-1 is 79.15 here, 79.16 in Tables 8 and 9.",
    ),
    dict(
        name="ResNet-50-D+distill-and-mixup",
        backbone="resnet50_d",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup", "distillation"],
        teacher="ResNet-152-D-mixup",
        reference=dict(top1=79.29, top5=94.63),
        gpu_hours=4.4 * 8 * 200 / 60,
    ),
    dict(
        name="Inception-V3-efficient",
        backbone="inception_v3-valid",
        recipe="efficient",
        tricks=["image_299"],
        reference=dict(top1=77.50, top5=93.60),
        gpu_hours=8.0 * 8 * 120 / 60,
    ),
    dict(
        name="Inception-V3+cosine",
        backbone="inception_v3-valid",
        recipe="efficient",
        tricks=["image_299", "cosine"],
        reference=dict(top1=78.19, top5=94.06),
        gpu_hours=8.0 * 8 * 120 / 60,
    ),
    dict(
        name="Inception-V3+smooth",
        backbone="inception_v3-valid",
        recipe="efficient",
        tricks=["image_299", "cosine", "label_smoothing"],
        reference=dict(top1=78.40, top5=94.13),
        gpu_hours=8.0 * 8 * 120 / 60,
    ),
    dict(
        name="Inception-V3+distill-no-mixup",
        backbone="inception_v3-valid",
        recipe="efficient",
        tricks=["image_299", "cosine", "label_smoothing", "distillation"],
        teacher="ResNet-152-D",
        reference=dict(top1=78.26, top5=94.01),
        gpu_hours=8.0 * 8 * 120 / 60,
    ),
    dict(
        name="Inception-V3+mixup-no-distill",
        backbone="inception_v3-valid",
        recipe="efficient",
        tricks=["image_299", "cosine", "label_smoothing", "mixup"],
        reference=dict(top1=78.77, top5=94.39),
        gpu_hours=8.0 * 8 * 200 / 60,
    ),
    dict(
        name="Inception-V3+distill-and-mixup",
        backbone="inception_v3-valid",
        recipe="efficient",
        tricks=["image_299", "cosine", "label_smoothing", "mixup", "distillation"],
        teacher="ResNet-152-D-mixup",
        reference=dict(top1=78.34, top5=94.16),
        gpu_hours=8.0 * 8 * 200 / 60,
    ),
    dict(
        name="MobileNet-efficient",
        backbone="mobilenet_v1",
        recipe="efficient",
        reference=dict(top1=71.90, top5=90.53),
        gpu_hours=3.7 * 8 * 120 / 60,
        note="Top-5 is 90.53 here, 90.47 in Table 3.",
    ),
    dict(
        name="MobileNet+cosine",
        backbone="mobilenet_v1",
        recipe="efficient",
        tricks=["cosine"],
        reference=dict(top1=72.83, top5=91.00),
        gpu_hours=3.7 * 8 * 120 / 60,
    ),
    dict(
        name="MobileNet+smooth",
        backbone="mobilenet_v1",
        recipe="efficient",
        tricks=["cosine", "label_smoothing"],
        reference=dict(top1=72.93, top5=91.14),
        gpu_hours=3.7 * 8 * 120 / 60,
    ),
    dict(
        name="MobileNet+distill-no-mixup",
        backbone="mobilenet_v1",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "distillation"],
        teacher="ResNet-152-D",
        reference=dict(top1=71.97, top5=90.89),
        gpu_hours=3.7 * 8 * 120 / 60,
    ),
    dict(
        name="MobileNet+mixup-no-distill",
        backbone="mobilenet_v1",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
        reference=dict(top1=73.28, top5=91.30),
        gpu_hours=3.7 * 8 * 200 / 60,
    ),
    dict(
        name="MobileNet+distill-and-mixup",
        backbone="mobilenet_v1",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup", "distillation"],
        teacher="ResNet-152-D-mixup",
        reference=dict(top1=72.51, top5=91.02),
        gpu_hours=3.7 * 8 * 200 / 60,
    ),
]
