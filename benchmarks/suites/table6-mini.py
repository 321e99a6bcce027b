"""Table 6 on the embedded data: training refinements on small siblings of the three networks.

Command: bash benchmarks/run_all.sh table6-mini
"""

base = "table2-mini"
title = "Table 6, mini: training refinements"
description = (
    "Small networks of the three families; the teacher is a ResNet-26-D of twice the width."
)
_cosine = ["cosine"]
_smooth = [*_cosine, "label_smoothing"]
_distill = [*_smooth, "distillation"]
_mixup = [*_smooth, "mixup"]
_both = [*_mixup, "distillation"]
_resnet = dict(backbone="resnet14_d-w16", recipe="efficient")
_inception = dict(backbone="inception_v3-x0.25", recipe="efficient")
_mobilenet = dict(backbone="mobilenet_v1-x0.5", recipe="efficient")
# With the efficient recipe, such a deep network stays at chance level: 155 steps, at rates of up to 0.4.
_teacher = dict(backbone="resnet26_d-w32", recipe="standard")
teachers = [
    dict(name="ResNet-26-D", tricks=["lars", "warmup", *_smooth], **_teacher),
    dict(name="ResNet-26-D-mixup", tricks=["lars", "warmup", *_mixup], **_teacher),
]
rows = [
    dict(name="ResNet-14-D-efficient", **_resnet),
    dict(name="ResNet-14-D+cosine", tricks=_cosine, **_resnet),
    dict(name="ResNet-14-D+smooth", tricks=_smooth, **_resnet),
    dict(name="ResNet-14-D+distill-no-mixup", tricks=_distill, teacher="ResNet-26-D", **_resnet),
    dict(name="ResNet-14-D+mixup-no-distill", tricks=_mixup, **_resnet),
    dict(
        name="ResNet-14-D+distill-and-mixup", tricks=_both, teacher="ResNet-26-D-mixup", **_resnet
    ),
    dict(name="Inception-V3-efficient", **_inception),
    dict(name="Inception-V3+cosine", tricks=_cosine, **_inception),
    dict(name="Inception-V3+smooth", tricks=_smooth, **_inception),
    dict(
        name="Inception-V3+distill-no-mixup", tricks=_distill, teacher="ResNet-26-D", **_inception
    ),
    dict(name="Inception-V3+mixup-no-distill", tricks=_mixup, **_inception),
    dict(
        name="Inception-V3+distill-and-mixup",
        tricks=_both,
        teacher="ResNet-26-D-mixup",
        **_inception,
    ),
    dict(name="MobileNet-efficient", **_mobilenet),
    dict(name="MobileNet+cosine", tricks=_cosine, **_mobilenet),
    dict(name="MobileNet+smooth", tricks=_smooth, **_mobilenet),
    dict(name="MobileNet+distill-no-mixup", tricks=_distill, teacher="ResNet-26-D", **_mobilenet),
    dict(name="MobileNet+mixup-no-distill", tricks=_mixup, **_mobilenet),
    dict(
        name="MobileNet+distill-and-mixup", tricks=_both, teacher="ResNet-26-D-mixup", **_mobilenet
    ),
]
