"""Set the parts of a segmentor's config that depend on dataset and backbone: data, classes, widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmseg.models.decode_heads import FCNHead

from backbones import Feature
from datasets.layouts import kind_of, layout_of
from datasets.layouts.ade20k import LABEL_SUFFIX, Folders
from datasets.records import Splits
from engine import holdout
from engine.dense.pictures import colour
from engine.images import LoadImage
from seg.heads import LossOnlyFCNHead
from seg.labels import LoadLabels


def wire_data(config: Config, root: Path) -> int:
    """Set the datasets of a config, in the layout of ADE20K; return the number of classes."""
    layout = layout_of(kind_of(root, "seg"))
    splits, classes = layout.splits(root), layout.classes(root)
    _wire_data(config, root, splits, classes)
    return len(classes)


def choose_maps(model: Any) -> None:
    """Keep only the maps that a head uses: unused ones would get no gradient, which stops distributed training."""
    indices = model.backbone.get("out_indices", (0, 1, 2, 3))
    heads = _heads(model)
    read = [indices[head.in_index] for head in heads]
    model.backbone.out_indices = tuple(sorted(set(read)))
    for head, index in zip(heads, read, strict=True):
        head.in_index = model.backbone.out_indices.index(index)


def wire_heads(config: Config, found: list[Feature], num_classes: int) -> None:
    """Set the widths of each head from its map and the number of classes."""
    for head in _heads(config.model):
        head.in_channels = found[head.in_index].channels
        head.num_classes = num_classes
        if head.type == FCNHead.__name__:
            head.type = LossOnlyFCNHead.__name__


def _heads(model: Any) -> list[Any]:
    found = (model.decode_head, model.get("auxiliary_head"))
    return [head for head in found if head is not None]


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
        return dict(type=LoadImage.__name__)
    if step["type"] == "LoadAnnotations":
        return dict(type=LoadLabels.__name__, num_classes=num_classes)
    return {**step, **sizes.get(step["type"], {})}
