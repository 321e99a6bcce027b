"""Every trick of classification alone, on the embedded data.

Command: bash benchmarks/run_all.sh tricks-mini
Hours on two CPU cores. `image_299` is left out: the images have 64 pixels.
"""

base = "table2-mini"
title = "Each trick alone, mini"
description = "A small ResNet on generated images of 64 pixels: the plain recipe, and the plain recipe with one trick."
columns = ["top1", "top5", "epoch_minutes"]
# With the efficient recipe, such a deep network stays at chance level: 155 steps, at rates of up to 0.4.
teachers = [
    dict(
        name="teacher",
        backbone="resnet26_d-w32",
        recipe="standard",
        tricks=["lars", "warmup", "cosine", "label_smoothing"],
    ),
]
_plain = dict(backbone="resnet10_b-w24", recipe="standard")
rows = [
    dict(name="plain", **_plain),
    dict(name="adabound", tricks=["adabound"], **_plain),
    dict(name="adam", tricks=["adam"], **_plain),
    dict(name="auto_augment", tricks=["auto_augment"], **_plain),
    dict(name="clip_grad_norm", tricks=["clip_grad_norm"], **_plain),
    dict(name="clip_grad_value", tricks=["clip_grad_value"], **_plain),
    dict(name="color_jitter", tricks=["color_jitter"], **_plain),
    dict(name="cosine", tricks=["cosine"], **_plain),
    dict(name="cutmix", tricks=["cutmix"], **_plain),
    dict(name="cutout", tricks=["cutout"], **_plain),
    dict(name="distillation", tricks=["distillation"], teacher="teacher", **_plain),
    dict(name="distillation_gluoncv", tricks=["distillation_gluoncv"], teacher="teacher", **_plain),
    dict(name="dropout", tricks=["dropout"], **_plain),
    dict(name="early_stopping", tricks=["early_stopping"], **_plain),
    dict(name="ema", tricks=["ema"], **_plain),
    dict(name="exponential", tricks=["exponential"], **_plain),
    dict(name="focal_loss", tricks=["focal_loss"], **_plain),
    dict(name="kaiming", tricks=["kaiming"], **_plain),
    dict(name="l1", tricks=["l1"], **_plain),
    dict(name="l2", tricks=["l2"], **_plain),
    dict(name="label_smoothing", tricks=["label_smoothing"], **_plain),
    dict(name="large_batch", tricks=["large_batch"], **_plain),
    dict(name="lars", tricks=["lars"], **_plain),
    dict(name="linear_scaling", tricks=["linear_scaling"], **_plain),
    dict(name="mixup", tricks=["mixup"], **_plain),
    dict(name="no_bias_decay", tricks=["no_bias_decay"], **_plain),
    dict(name="polynomial", tricks=["polynomial"], **_plain),
    dict(name="rand_augment", tricks=["rand_augment"], **_plain),
    dict(name="random_erasing", tricks=["random_erasing"], **_plain),
    dict(name="random_erasing_constant", tricks=["random_erasing_constant"], **_plain),
    dict(name="random_erasing_mean", tricks=["random_erasing_mean"], **_plain),
    dict(name="ricap", tricks=["ricap"], **_plain),
    dict(name="rotation", tricks=["rotation"], **_plain),
    dict(name="step_cosine", tricks=["step_cosine"], **_plain),
    dict(name="step_every", tricks=["step_every"], **_plain),
    dict(name="trivial_augment", tricks=["trivial_augment"], **_plain),
    dict(name="warmup", tricks=["warmup"], **_plain),
    dict(name="zero_gamma", tricks=["zero_gamma"], **_plain),
]
