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
_cosine = ["cosine"]
_smooth = [*_cosine, "label_smoothing"]
_distill = [*_smooth, "distillation"]
_mixup = [*_smooth, "mixup"]
_both = [*_mixup, "distillation"]
# Inception-V3 is trained and tested at 299 pixels.
_large = ["image_299"]
_resnet = dict(backbone="resnet50_d", recipe="efficient", gpu_hours=4.4 * 8 * 120 / 60)
_inception = dict(backbone="inception_v3-valid", recipe="efficient", gpu_hours=8.0 * 8 * 120 / 60)
_mobilenet = dict(backbone="mobilenet_v1", recipe="efficient", gpu_hours=3.7 * 8 * 120 / 60)
# Mixup trains 200 epochs.
_resnet_200 = {**_resnet, "gpu_hours": 4.4 * 8 * 200 / 60}
_inception_200 = {**_inception, "gpu_hours": 8.0 * 8 * 200 / 60}
_mobilenet_200 = {**_mobilenet, "gpu_hours": 3.7 * 8 * 200 / 60}
_teacher = dict(backbone="resnet152_d", recipe="efficient")
teachers = [
    dict(name="ResNet-152-D", tricks=_smooth, **_teacher),
    dict(name="ResNet-152-D-mixup", tricks=_mixup, **_teacher),
]
rows = [
    dict(name="ResNet-50-D-efficient", reference=dict(top1=77.16, top5=93.52), **_resnet),
    dict(
        name="ResNet-50-D+cosine", tricks=_cosine, reference=dict(top1=77.91, top5=93.81), **_resnet
    ),
    dict(
        name="ResNet-50-D+smooth",
        tricks=_smooth,
        reference=dict(top1=78.31, top5=94.09),
        note="Top-1 is 78.31 here, 78.34 in Tables 8 and 9.",
        **_resnet,
    ),
    dict(
        name="ResNet-50-D+distill-no-mixup",
        tricks=_distill,
        teacher="ResNet-152-D",
        reference=dict(top1=78.67, top5=94.36),
        **_resnet,
    ),
    dict(
        name="ResNet-50-D+mixup-no-distill",
        tricks=_mixup,
        reference=dict(top1=79.15, top5=94.58),
        note="Top-1 is 79.15 here, 79.16 in Tables 8 and 9.",
        **_resnet_200,
    ),
    dict(
        name="ResNet-50-D+distill-and-mixup",
        tricks=_both,
        teacher="ResNet-152-D-mixup",
        reference=dict(top1=79.29, top5=94.63),
        **_resnet_200,
    ),
    dict(
        name="Inception-V3-efficient",
        tricks=_large,
        reference=dict(top1=77.50, top5=93.60),
        **_inception,
    ),
    dict(
        name="Inception-V3+cosine",
        tricks=[*_large, *_cosine],
        reference=dict(top1=78.19, top5=94.06),
        **_inception,
    ),
    dict(
        name="Inception-V3+smooth",
        tricks=[*_large, *_smooth],
        reference=dict(top1=78.40, top5=94.13),
        **_inception,
    ),
    dict(
        name="Inception-V3+distill-no-mixup",
        tricks=[*_large, *_distill],
        teacher="ResNet-152-D",
        reference=dict(top1=78.26, top5=94.01),
        **_inception,
    ),
    dict(
        name="Inception-V3+mixup-no-distill",
        tricks=[*_large, *_mixup],
        reference=dict(top1=78.77, top5=94.39),
        **_inception_200,
    ),
    dict(
        name="Inception-V3+distill-and-mixup",
        tricks=[*_large, *_both],
        teacher="ResNet-152-D-mixup",
        reference=dict(top1=78.34, top5=94.16),
        **_inception_200,
    ),
    dict(
        name="MobileNet-efficient",
        reference=dict(top1=71.90, top5=90.53),
        note="Top-5 is 90.53 here, 90.47 in Table 3.",
        **_mobilenet,
    ),
    dict(
        name="MobileNet+cosine",
        tricks=_cosine,
        reference=dict(top1=72.83, top5=91.00),
        **_mobilenet,
    ),
    dict(
        name="MobileNet+smooth",
        tricks=_smooth,
        reference=dict(top1=72.93, top5=91.14),
        **_mobilenet,
    ),
    dict(
        name="MobileNet+distill-no-mixup",
        tricks=_distill,
        teacher="ResNet-152-D",
        reference=dict(top1=71.97, top5=90.89),
        **_mobilenet,
    ),
    dict(
        name="MobileNet+mixup-no-distill",
        tricks=_mixup,
        reference=dict(top1=73.28, top5=91.30),
        **_mobilenet_200,
    ),
    dict(
        name="MobileNet+distill-and-mixup",
        tricks=_both,
        teacher="ResNet-152-D-mixup",
        reference=dict(top1=72.51, top5=91.02),
        **_mobilenet_200,
    ),
]
