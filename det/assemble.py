"""Set the parts of a detector's config that depend on dataset and backbone: data, classes, widths."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from backbones import Feature
from datasets.layouts import kind_of, layout_of
from datasets.layouts.coco import JsonSplit
from datasets.layouts.voc import ImageList
from datasets.records import Splits
from datasets.split import is_held_out, require_both_sides
from det.roi_extractor import Float32RoIExtractor
from engine import holdout
from engine.dense.transfer import features
from engine.images import LoadImage

_Part = ImageList | JsonSplit


def wire_data(config: Config, root: Path) -> int:
    """Set the datasets of a config, in the layout of Pascal VOC or COCO; return the number of classes."""
    layout = layout_of(kind_of(root, "det"))
    splits, classes = layout.splits(root), layout.classes(root)
    _wire_data(config, splits, classes)
    return len(classes)


def wire_heads(config: Config, found: list[Feature], num_classes: int) -> None:
    """Set the widths of neck, RPN and RoI head from the features, and the number of classes."""
    model: Any = config.model
    if model.get("neck") is None:
        _wire_c4(model, found)
    else:
        _wire_pyramid(model, found)
    model.roi_head.bbox_head.num_classes = num_classes


def _wire_pyramid(model: Any, found: list[Feature]) -> None:
    strides = [feature.stride for feature in found]
    model.neck.in_channels = [feature.channels for feature in found]
    # FPN's extra levels halve the resolution of the last one.
    extra = model.neck.num_outs - len(strides)
    model.rpn_head.anchor_generator.strides = strides + [
        strides[-1] * 2 ** (i + 1) for i in range(extra)
    ]
    extractor = model.roi_head.bbox_roi_extractor
    extractor.type = Float32RoIExtractor.__name__
    extractor.featmap_strides = strides


def _wire_c4(model: Any, found: list[Feature]) -> None:
    """Set the widths for proposals from a single map and the backbone's last stage as RoI head."""
    (feature,) = found
    *_, last = features(model.backbone.spec, model.backbone.get("output_stride", 32), (3,))
    model.rpn_head.in_channels = feature.channels
    model.rpn_head.anchor_generator.strides = [feature.stride]
    extractor = model.roi_head.bbox_roi_extractor
    extractor.type = Float32RoIExtractor.__name__
    extractor.featmap_strides = [feature.stride]
    extractor.out_channels = feature.channels
    head = model.roi_head.bbox_head
    head.in_channels = last.channels
    head.roi_feat_size = extractor.roi_layer.output_size * feature.stride // last.stride


def _wire_data(config: Any, splits: Splits[_Part], classes: tuple[str, ...]) -> None:
    scale, min_size = config.pop("image_scale"), config.pop("box_min_size")
    sizes: dict[str, dict[str, Any]] = {"Resize": dict(scale=tuple(scale))}
    if "train_scales" in config:
        sizes["RandomChoiceResize"] = dict(scales=[tuple(s) for s in config.pop("train_scales")])
    union: Any = config.train_dataloader.dataset
    if union.type == "RepeatDataset":
        union = union.dataset
    template = union.datasets[0]
    template.filter_cfg.bbox_min_size = min_size
    tested = config.val_dataloader.dataset
    if not holdout.asked_for(config):
        union.datasets = [_dataset(template, s, classes, sizes) for s in splits.train]
        config.val_dataloader.dataset = _dataset(tested, splits.test, classes, sizes)
        return
    sides = _sides(splits.train)
    union.datasets, held_out = (
        [
            ConfigDict(_dataset(made_like, split, classes, sizes), held_out=side)
            for split in sides[side]
        ]
        for made_like, side in ((template, False), (tested, True))
    )
    config.val_dataloader.dataset = ConfigDict(type="ConcatDataset", datasets=held_out)


def _sides(splits: tuple[_Part, ...]) -> dict[bool, list[_Part]]:
    """Return the parts with images to train on (False) and those with held-out images (True)."""
    names = [split.names() for split in splits]
    require_both_sides([name for part in names for name in part], "the set")
    return {
        side: [
            split
            for split, part in zip(splits, names, strict=True)
            if side in map(is_held_out, part)
        ]
        for side in (False, True)
    }


def _dataset(
    template: ConfigDict,
    split: _Part,
    classes: tuple[str, ...],
    sizes: dict[str, dict[str, Any]],
) -> ConfigDict:
    dataset: Any = copy.deepcopy(template)
    dataset.pop("data_root", None)
    dataset.update(source(split))
    dataset.metainfo = dict(classes=classes)
    dataset.pipeline = [_transform(step, sizes) for step in dataset.pipeline]
    return dataset


def source(part: _Part) -> dict[str, Any]:
    """Return the arguments of `DetectionDataset` that select the samples."""
    split = {} if part.split is None else {"split": part.split}
    if isinstance(part, JsonSplit):
        return dict(
            type="CocoDetectionDataset",
            ann_file=str(part.json_file),
            data_prefix=dict(img=str(part.folder)),
            **split,
        )
    return dict(
        type="DetectionDataset",
        ann_file=str(part.list_file or ""),
        data_prefix=dict(sub_data_root=str(part.tree)),
        **split,
    )


def _transform(step: dict[str, Any], sizes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if step["type"] == "LoadImageFromFile":
        return dict(type=LoadImage.__name__)
    return {**step, **sizes.get(step["type"], {})}
