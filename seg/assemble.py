"""From a delta on mmseg's config to the Runner config: data, classes, widths, normalisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from datasets.layouts import kind_of, layout_of
from datasets.layouts.ade20k import LABEL_SUFFIX, Folders
from datasets.records import Splits
from engine import config as configs
from engine import holdout, transfer_protocols
from engine.averaging import wire_average
from engine.pictures import colour
from engine.stage import Job
from engine.transfer import normalisation, wire_backbone

CONFIGS = Path(__file__).parent / "configs"
OWN_KEYS = (
    frozenset(
        {
            *("image_scale", "resize_range", "crop_size", "batch_norm", "ema", "holdout"),
            *("multi_scale", "sliding"),
        }
    )
    | transfer_protocols.KEYS
)


def assemble(job: Job) -> Config:
    """The Runner config of the segmentation stage."""
    options = job.options
    file = configs.find(CONFIGS, options.config, "config")
    read = sorted(configs.runner_keys() | OWN_KEYS)
    configs.check_file_keys(file, read)
    configs.check_override_keys(options.overrides, read)
    config = configs.load(CONFIGS, options.config, options.tricks, options.overrides)
    layout = layout_of(kind_of(options.data, "seg"))
    splits, classes = layout.splits(options.data), layout.classes(options.data)
    _wire_data(config, options.data, splits, classes)
    _wire_model(config, job, len(classes))
    wire_average(config)
    return config


def _wire_model(config: Config, job: Job, num_classes: int) -> None:
    model = config.model
    heads = [head for head in (model.decode_head, model.get("auxiliary_head")) if head is not None]
    _ask_for_what_is_read(model.backbone, heads)
    found = wire_backbone(job, config)
    for head in heads:
        head.in_channels = found[head.in_index].channels
        head.num_classes = num_classes
    model.data_preprocessor.update(normalisation(job))


def _ask_for_what_is_read(backbone: ConfigDict, heads: list[ConfigDict]) -> None:
    """Leave only the maps that a head reads: a pyramid's others would learn nothing, and stop several processes."""
    indices = backbone.get("out_indices", (0, 1, 2, 3))
    read = [indices[head.in_index] for head in heads]
    backbone.out_indices = tuple(sorted(set(read)))
    for head, index in zip(heads, read, strict=True):
        head.in_index = backbone.out_indices.index(index)


def _wire_data(
    config: Config, root: Path, splits: Splits[Folders], classes: tuple[str, ...]
) -> None:
    sizes = {
        "RandomResize": dict(
            scale=tuple(config["image_scale"]), ratio_range=tuple(config.pop("resize_range"))
        ),
        "Resize": dict(scale=tuple(config.pop("image_scale"))),
        "RandomCrop": dict(crop_size=tuple(config["crop_size"])),
    }
    crop = tuple(config.pop("crop_size"))
    config.model.data_preprocessor.size = crop
    sliding = config.pop("sliding")
    if sliding is not None:
        step = tuple(round(side * sliding["step"]) for side in crop)
        config.model.test_cfg = dict(mode="slide", crop_size=crop, stride=step)
    (train,), test = splits.train, splits.test
    sides: tuple[bool | None, bool | None] = (None, None)
    if holdout.asked_for(config):
        test, sides = train, (False, True)
    for loader, part, held_out in (
        (config.train_dataloader, train, sides[0]),
        (config.val_dataloader, test, sides[1]),
    ):
        pipeline = [_transform(step, sizes, len(classes)) for step in loader.dataset.pipeline]
        loader.dataset = ConfigDict(
            type="SegmentationDataset",
            held_out=held_out,
            data_root=str(root),
            data_prefix=dict(
                img_path=part.image_folder.relative_to(root).as_posix(),
                seg_map_path=part.label_folder.relative_to(root).as_posix(),
            ),
            img_suffix=part.suffix(),
            seg_map_suffix=LABEL_SUFFIX,
            reduce_zero_label=True,
            metainfo=dict(classes=classes, palette=[colour(i) for i in range(len(classes))]),
            pipeline=pipeline,
        )


def _transform(
    step: dict[str, Any], sizes: dict[str, dict[str, Any]], num_classes: int
) -> dict[str, Any]:
    if step["type"] == "LoadImageFromFile":
        return dict(type="LoadImage")
    if step["type"] == "LoadAnnotations":
        return dict(type="LoadLabels", num_classes=num_classes)
    return {**step, **sizes.get(step["type"], {})}
