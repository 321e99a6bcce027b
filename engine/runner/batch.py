"""The images of a step: how many, how processes and forward passes divide them, and over how many statistics are taken.

A published schedule counts steps of its own batch: 16 images on 8 GPUs for Faster R-CNN on VOC, 1,024 on 8 for the
classifier. With fewer devices, a device processes its share of that batch in several forward passes of
`device_batch_size` images (engine/runner/accumulation.py). With more, each takes fewer images. Iterations, epochs and
warm-up keep the schedule.

Only batch norm notices the division, if its statistics are trained: they are those of one pass, or of one pass on all
devices if they are synchronised. They then keep the published number of images unless memory does not allow it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from torch import nn

import backbones
from contract.errors import UserError

KEY = "device_batch_size"
HOOK = "DeviceBatchHook"
# What a pass decides: nothing, its own statistics, or those of all devices' passes together.
NONE, PASS, SYNCHRONISED = "none", "pass", "synchronised"


def wire_batch(
    config: Config, processes: int, *, synchronises: bool, keep_numbers: bool
) -> ConfigDict:
    """Divide the published batch among processes and passes: set the loader's batch, in place.

    `auto_scale_lr` states the published batch, and the loader's `batch_size` the published images per device; the
    key `device_batch_size`, the most images in a pass, is removed. If the batch does not divide evenly among the
    processes, a step has the next smaller number of images, and the learning rate is scaled: 5 processes of 3 images
    make 15 of 16, at 15/16 of the rate.

    Args:
        config: A task's config, before SyncBN is replaced.
        processes: Number of processes.
        synchronises: Whether SyncBN synchronises here.
        keep_numbers: Refuse another number of images for trained statistics, even if memory does not allow the
            published one.

    Returns:
        The config of the `DeviceBatchHook` that makes the passes.

    Raises:
        UserError: There are more processes than images, or the key's value is not a number of images.
    """
    rule, published = config.auto_scale_lr, config.train_dataloader.batch_size
    asked = checked_size(config.pop(KEY, None))
    share = (
        _share(rule["base_batch_size"], published, processes) if rule.get("enable") else published
    )
    statistics = trained_statistics(config.model)
    if statistics == PASS and config.get("sync_bn"):
        # mmengine's Runner turns every BN into SyncBN.
        statistics = SYNCHRONISED
    together = statistics == SYNCHRONISED
    size = evenly(share, asked or (share if together else published))
    if together and not synchronises:
        statistics = PASS
    config.train_dataloader.batch_size = share
    return ConfigDict(
        type=HOOK,
        size=size,
        share=share,
        processes=processes,
        fixed=asked is not None,
        statistics=statistics,
        published=_published_images(rule, published, together, statistics),
        keep_numbers=keep_numbers,
    )


def checked_size(value: Any) -> int | None:
    """Return the value of the key `device_batch_size`.

    Raises:
        UserError: It is not a number of images.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise UserError(
        f"{KEY}={value!r} was given; expected the most images in a forward pass on one device, such as 8, or None to "
        "choose it from the device's memory"
    )


def _share(batch: int, published: int, processes: int) -> int:
    """Return the images of one process in a step."""
    if published > batch:
        # The config asks for a larger batch than the published one; the learning rate is scaled.
        return published
    if processes > batch:
        raise UserError(
            f"{processes} processes were started, and a step has {batch} images; start at most {batch}, so that each "
            "has one"
        )
    return batch // processes


def evenly(share: int, most: int) -> int:
    """Return the images of a pass if a share is divided into as few passes as possible, of nearly equal size."""
    passes = -(-share // most)
    return -(-share // passes)


def _published_images(
    rule: Mapping[str, Any], published: int, together: bool, statistics: str
) -> int | None:
    if statistics == NONE:
        return None
    return rule["base_batch_size"] if together and rule.get("enable") else published


def trained_statistics(model: Any) -> str:
    """Return how a model's config trains batch statistics: `NONE`, `PASS` or `SYNCHRONISED`."""
    norms = set(_norms({key: value for key, value in model.items() if key != "backbone"}))
    if "SyncBN" in norms:
        return SYNCHRONISED
    backbone = model.backbone
    trained = not (backbone.get("norm_eval") or backbone.get("frozen"))
    spec = backbone.get("spec")
    return PASS if norms or (trained and spec is not None and _has_batch_norm(spec)) else NONE


def _norms(node: Any) -> Iterator[str]:
    """Yield the types of batch norm in a config."""
    if isinstance(node, Mapping):
        kind = node.get("type")
        if isinstance(kind, str) and (kind == "SyncBN" or kind.startswith("BN")):
            yield kind
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for value in node:
            yield from _norms(value)


@functools.cache
def _has_batch_norm(spec: str) -> bool:
    with torch.device("meta"):
        network = backbones.create(spec)
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def division(config: Config) -> ConfigDict | None:
    """Return the arguments of the hook that `wire_batch` made; None if a budget fixes the batch."""
    hooks = [hook for hook in config.get("custom_hooks") or [] if hook.type == HOOK]
    return hooks[0] if hooks else None


def statistics_over(config: Config) -> int | None:
    """Return over how many images trained batch statistics are taken; None if none are trained."""
    made = division(config)
    if made is None or made.statistics == NONE:
        return None
    size: Any = made.size
    return size * made.processes if made.statistics == SYNCHRONISED else size


def describe_batch(config: Config, processes: int, lr_factor: float = 1.0) -> str:
    """Describe the images of a step, how they are divided, and the learning rate, with `--lr-factor` if it is not 1."""
    share = config.train_dataloader.batch_size
    total = share * processes
    made = division(config)
    size = share if made is None else made.size
    parts = [f"{processes} processes"] if processes > 1 else []
    if size < share:
        parts.append(f"{-(-share // size)} micro-batches")
    made_of = f" ({' x '.join([*parts, str(size)])})" if parts else ""
    rule = config.auto_scale_lr
    ratio = total / rule["base_batch_size"] if rule.get("enable") else 1
    times = f"{ratio * lr_factor:g}"
    rate = "the config's" if times == "1" else f"{times} of the config's"
    asked = "" if lr_factor == 1 else f" (--lr-factor {lr_factor:g})"
    return (
        f"{total} images a step{made_of}{_statistics(config, total)}, learning rate {rate}{asked}"
    )


def _statistics(config: Config, total: int) -> str:
    """Describe the images behind trained batch statistics, unless they are those of the whole step."""
    made, images = division(config), statistics_over(config)
    if made is None or images is None or images == total == made.published:
        return ""
    published = "" if images == made.published else f" (published: {made.published})"
    return f", batch statistics over {images} images{published}"


def batch_use(config: Config, processes: int) -> dict[str, Any]:
    """Return the entry `batch` of `result.json`."""
    made = division(config)
    share = config.train_dataloader.batch_size
    return {
        "images": share * processes,
        "processes": processes,
        "device_batch_size": share if made is None else made.size,
        "batch_norm_images": statistics_over(config),
        "published_batch_norm_images": None if made is None else made.published,
    }
