"""Table 3 of "Bag of Tricks …" (arXiv 1812.01187): efficient training against the baseline, with its time.

Command: bash benchmarks/run_all.sh table3
Data: data/imagenet. Days on eight GPUs.
"""

base = "table2"
title = "Table 3: efficient training"
description = (
    "Batch 1024 with the heuristics of Table 4 and mixed precision, against batch 256 in float32. The "
    "paper's minutes are of eight V100."
)
columns = ["top1", "top5", "epoch_minutes"]
intended = dict(
    protocol="Inception-V3 is trained and tested at 299 pixels (§2.1), the others at 224",
    precision="the table is about it; what the hardware offers stands for the paper's float16",
)
_efficient = dict(recipe="efficient")
_baseline = dict(recipe="standard", precision="fp32")
rows = [
    dict(
        name="ResNet-50-efficient",
        backbone="resnet50",
        gpu_hours=4.4 * 8 * 120 / 60,
        reference=dict(epoch_minutes=4.4, top1=76.21, top5=92.97),
        **_efficient,
    ),
    dict(
        name="ResNet-50-baseline",
        backbone="resnet50",
        gpu_hours=13.3 * 8 * 120 / 60,
        reference=dict(epoch_minutes=13.3, top1=75.87, top5=92.70),
        **_baseline,
    ),
    dict(
        name="Inception-V3-efficient",
        backbone="inception_v3-valid",
        gpu_hours=8.0 * 8 * 120 / 60,
        tricks=["image_299"],
        reference=dict(epoch_minutes=8.0, top1=77.50, top5=93.60),
        **_efficient,
    ),
    dict(
        name="Inception-V3-baseline",
        backbone="inception_v3-valid",
        gpu_hours=19.8 * 8 * 120 / 60,
        tricks=["image_299"],
        reference=dict(epoch_minutes=19.8, top1=77.32, top5=93.43),
        **_baseline,
    ),
    dict(
        name="MobileNet-efficient",
        backbone="mobilenet_v1",
        gpu_hours=3.7 * 8 * 120 / 60,
        reference=dict(epoch_minutes=3.7, top1=71.90, top5=90.47),
        note="Top-5 is 90.47 here, 90.53 in Table 6.",
        **_efficient,
    ),
    dict(
        name="MobileNet-baseline",
        backbone="mobilenet_v1",
        gpu_hours=6.2 * 8 * 120 / 60,
        reference=dict(epoch_minutes=6.2, top1=69.03, top5=88.71),
        **_baseline,
    ),
]
