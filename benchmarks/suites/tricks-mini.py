"""Every trick of classification alone, on the embedded data.

Command: bash benchmarks/run_all.sh tricks-mini
Hours on two CPU cores. `image_299` is left out: the images have 64 pixels.
"""

base = "table2-mini"
title = "Each trick alone, mini"
description = "A small ResNet on generated images of 64 pixels: the plain recipe, and the plain recipe with one trick."
columns = ["top1", "top5", "epoch_minutes"]
teachers = [
    dict(
        name="teacher",
        backbone="resnet26_d-w32",
        recipe="efficient",
        tricks=["cosine", "label_smoothing"],
    ),
]
rows = [
    dict(name="plain", backbone="resnet10_b-w24", recipe="standard"),
    dict(name="adabound", backbone="resnet10_b-w24", recipe="standard", tricks=["adabound"]),
    dict(name="adam", backbone="resnet10_b-w24", recipe="standard", tricks=["adam"]),
    dict(
        name="auto_augment", backbone="resnet10_b-w24", recipe="standard", tricks=["auto_augment"]
    ),
    dict(
        name="clip_grad_norm",
        backbone="resnet10_b-w24",
        recipe="standard",
        tricks=["clip_grad_norm"],
    ),
    dict(
        name="clip_grad_value",
        backbone="resnet10_b-w24",
        recipe="standard",
        tricks=["clip_grad_value"],
    ),
    dict(
        name="color_jitter", backbone="resnet10_b-w24", recipe="standard", tricks=["color_jitter"]
    ),
    dict(name="cosine", backbone="resnet10_b-w24", recipe="standard", tricks=["cosine"]),
    dict(name="cutmix", backbone="resnet10_b-w24", recipe="standard", tricks=["cutmix"]),
    dict(name="cutout", backbone="resnet10_b-w24", recipe="standard", tricks=["cutout"]),
    dict(
        name="distillation",
        backbone="resnet10_b-w24",
        recipe="standard",
        tricks=["distillation"],
        teacher="teacher",
    ),
    dict(
        name="distillation_gluoncv",
        backbone="resnet10_b-w24",
        recipe="standard",
        tricks=["distillation_gluoncv"],
        teacher="teacher",
    ),
    dict(name="dropout", backbone="resnet10_b-w24", recipe="standard", tricks=["dropout"]),
    dict(
        name="early_stopping",
        backbone="resnet10_b-w24",
        recipe="standard",
        tricks=["early_stopping"],
    ),
    dict(name="ema", backbone="resnet10_b-w24", recipe="standard", tricks=["ema"]),
    dict(name="exponential", backbone="resnet10_b-w24", recipe="standard", tricks=["exponential"]),
    dict(name="focal_loss", backbone="resnet10_b-w24", recipe="standard", tricks=["focal_loss"]),
    dict(name="kaiming", backbone="resnet10_b-w24", recipe="standard", tricks=["kaiming"]),
    dict(name="l1", backbone="resnet10_b-w24", recipe="standard", tricks=["l1"]),
    dict(name="l2", backbone="resnet10_b-w24", recipe="standard", tricks=["l2"]),
    dict(
        name="label_smoothing",
        backbone="resnet10_b-w24",
        recipe="standard",
        tricks=["label_smoothing"],
    ),
    dict(name="large_batch", backbone="resnet10_b-w24", recipe="standard", tricks=["large_batch"]),
    dict(name="lars", backbone="resnet10_b-w24", recipe="standard", tricks=["lars"]),
    dict(
        name="linear_scaling",
        backbone="resnet10_b-w24",
        recipe="standard",
        tricks=["linear_scaling"],
    ),
    dict(name="mixup", backbone="resnet10_b-w24", recipe="standard", tricks=["mixup"]),
    dict(
        name="no_bias_decay", backbone="resnet10_b-w24", recipe="standard", tricks=["no_bias_decay"]
    ),
    dict(name="polynomial", backbone="resnet10_b-w24", recipe="standard", tricks=["polynomial"]),
    dict(
        name="rand_augment", backbone="resnet10_b-w24", recipe="standard", tricks=["rand_augment"]
    ),
    dict(
        name="random_erasing",
        backbone="resnet10_b-w24",
        recipe="standard",
        tricks=["random_erasing"],
    ),
    dict(
        name="random_erasing_constant",
        backbone="resnet10_b-w24",
        recipe="standard",
        tricks=["random_erasing_constant"],
    ),
    dict(
        name="random_erasing_mean",
        backbone="resnet10_b-w24",
        recipe="standard",
        tricks=["random_erasing_mean"],
    ),
    dict(name="ricap", backbone="resnet10_b-w24", recipe="standard", tricks=["ricap"]),
    dict(name="rotation", backbone="resnet10_b-w24", recipe="standard", tricks=["rotation"]),
    dict(name="step_cosine", backbone="resnet10_b-w24", recipe="standard", tricks=["step_cosine"]),
    dict(name="step_every", backbone="resnet10_b-w24", recipe="standard", tricks=["step_every"]),
    dict(
        name="trivial_augment",
        backbone="resnet10_b-w24",
        recipe="standard",
        tricks=["trivial_augment"],
    ),
    dict(name="warmup", backbone="resnet10_b-w24", recipe="standard", tricks=["warmup"]),
    dict(name="zero_gamma", backbone="resnet10_b-w24", recipe="standard", tricks=["zero_gamma"]),
]
