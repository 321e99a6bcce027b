"""Table 2 of "Bag of Tricks for Image Classification" (arXiv 1812.01187): the baseline on three networks.

Command: bash benchmarks/run_all.sh table2
Data: data/imagenet. Days on eight GPUs. `--budget smoke` runs the same code on tiny generated images.
"""

title = "Table 2: the baseline"
description = (
    "Training of §2.1: batch 256, 120 epochs, step decay, float32. The paper's own reference column, of "
    "other papers, is 75.3 / 92.2 for ResNet-50, 78.8 / 94.4 for Inception-V3 and 70.6 for MobileNet."
)
tasks = dict(cls=dict(config="cls_train/configs/imagenet.py", data="cls"))
datasets = dict(
    cls=dict(
        kind="imagefolder",
        path="data/imagenet",
        smoke=dict(path="data/miniworld/fullsize-smoke/cls", generate="fullsize-smoke"),
    )
)
seeds = [0, 1, 2]
columns = ["top1", "top5"]
intended = dict(
    protocol="Inception-V3 is trained and tested at 299 pixels (§2.1), the others at 224"
)
_baseline = dict(recipe="standard", precision="fp32")
rows = [
    dict(
        name="ResNet-50",
        backbone="resnet50",
        gpu_hours=13.3 * 8 * 120 / 60,
        reference=dict(top1=75.87, top5=92.70),
        note="GPU-hours are those of Table 3: minutes an epoch, eight V100, 120 epochs.",
        **_baseline,
    ),
    dict(
        name="Inception-V3",
        backbone="inception_v3-valid",
        gpu_hours=19.8 * 8 * 120 / 60,
        tricks=["image_299"],
        reference=dict(top1=77.32, top5=93.43),
        **_baseline,
    ),
    dict(
        name="MobileNet",
        backbone="mobilenet_v1",
        gpu_hours=6.2 * 8 * 120 / 60,
        reference=dict(top1=69.03, top5=88.71),
        **_baseline,
    ),
]
