"""Every trick of classification alone, on the embedded data.

Command: bash benchmarks/run_all.sh tricks-mini
Hours on two CPU cores. `image_299` is left out: the images have 64 pixels.
"""

base = "table2-mini"
title = "Each trick alone, mini"
description = "A small ResNet on generated images of 64 pixels: the plain recipe, and the plain recipe with one trick."
columns = ["top1", "top5", "epoch_minutes"]
# By the efficient recipe so deep a network stays at chance here: 155 steps, at rates of up to 0.4.
teachers = [
    dict(
        name="teacher",
        backbone="resnet26_d-w32",
        recipe="standard",
        tricks=["lars", "warmup", "cosine", "label_smoothing"],
    ),
]
rows = [
    dict(name="plain", backbone="resnet10_b-w24", recipe="standard"),
    *(
        dict(
            name=trick,
            backbone="resnet10_b-w24",
            recipe="standard",
            tricks=[trick],
            **({"teacher": "teacher"} if trick.startswith("distillation") else {}),
        )
        for trick in (
            "adabound",
            "adam",
            "auto_augment",
            "clip_grad_norm",
            "clip_grad_value",
            "color_jitter",
            "cosine",
            "cutmix",
            "cutout",
            "distillation",
            "distillation_gluoncv",
            "dropout",
            "early_stopping",
            "ema",
            "exponential",
            "focal_loss",
            "kaiming",
            "l1",
            "l2",
            "label_smoothing",
            "large_batch",
            "lars",
            "linear_scaling",
            "mixup",
            "no_bias_decay",
            "polynomial",
            "rand_augment",
            "random_erasing",
            "random_erasing_constant",
            "random_erasing_mean",
            "ricap",
            "rotation",
            "step_cosine",
            "step_every",
            "trivial_augment",
            "warmup",
            "zero_gamma",
        )
    ),
]
