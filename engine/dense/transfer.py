"""Connect a backbone to a dense task: widths and strides, batch norm and freezing."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from mmengine.config import Config, ConfigDict

import backbones
from backbones import Feature, OutputStrideError
from backbones.backbone import OUTPUT_STRIDES
from contract.errors import UserError, unknown
from engine.adapter import TransferBackbone
from engine.job import Job
from engine.runner.distributed import launched, world_size

BATCH_NORM = ("frozen", "trained", "synchronised")


@dataclass(frozen=True)
class _Declared:
    """The declarations of a network.

    Attributes:
        aligned: Whether its maps are aligned with the image.
        aligned_spec: A spec of the same network with aligned maps; None if there is none.
        staged: Whether it lists its stages.
        maps: Its maps for dense tasks.
    """

    aligned: bool
    aligned_spec: str | None
    staged: bool
    maps: tuple[Feature, ...]


def features(spec: str, output_stride: int, out_indices: tuple[int, ...]) -> list[Feature]:
    """Return the declared features of a backbone for dense tasks, without allocating its weights.

    Raises:
        UserError: Its maps are not aligned with the image.
    """
    network = _declared(spec, output_stride)
    if not network.aligned:
        remedy = f"take {network.aligned_spec}, trained as such" if network.aligned_spec else ""
        raise UserError(
            f"the maps of {spec} are shifted against the image, because it has no padding: boxes and label maps "
            f"would be off by pixels; {remedy or 'take another backbone'}"
        )
    return [network.maps[i] for i in out_indices]


@functools.cache
def _declared(spec: str, output_stride: int) -> _Declared:
    """Read the declarations of a network without weights."""
    with torch.device("meta"):
        network = backbones.create(spec, output_stride=output_stride)
    try:
        network.stages()
        staged = True
    except UserError:
        staged = False
    maps = tuple(backbones.dense_features(network, output_stride))
    return _Declared(network.aligned, network.aligned_spec, staged, maps)


def wire_backbone(job: Job, config: Config) -> list[Feature]:
    """Set the spec and the batch-norm policy; unfreeze a backbone with random weights.

    The key `batch_norm` is removed from the config: `'frozen'` keeps the backbone's stored statistics (γ and β
    train), `'trained'` updates them, and `'synchronised'` updates them with the batch of all GPUs, also in the heads.
    Random filters and random statistics are never frozen, because that would make the control row look worse than it
    is.

    Returns:
        The features that neck and heads receive.

    Raises:
        UserError: The policy is unknown, or the config also sets a value that the policy decides.
    """
    policy = config.pop("batch_norm")
    if policy not in BATCH_NORM:
        raise unknown("batch_norm", str(policy), BATCH_NORM)
    backbone = config.model.backbone
    backbone.setdefault("type", TransferBackbone.__name__)
    if "norm_eval" in backbone:
        raise UserError(
            f"model.backbone.norm_eval={backbone.norm_eval} was given; batch_norm decides it: write batch_norm = "
            "'frozen' or 'trained' instead"
        )
    backbone.spec = job.spec
    backbone.norm_eval = policy == "frozen" and job.pretrained
    if not job.pretrained:
        backbone.frozen_stages = -1
    if config.pop("frozen_backbone", False):
        # This includes the control: a frozen row is compared with frozen random features.
        backbone.update(frozen=True, norm_eval=False, frozen_stages=-1)
    if policy == "synchronised" and launched() and job.device_type == "cuda":
        config.sync_bn = "torch"
    indices = tuple(backbone.setdefault("out_indices", (0, 1, 2, 3)))
    asked = backbone.get("output_stride", 32)
    for stride in [asked, *(stride for stride in reversed(OUTPUT_STRIDES) if stride > asked)]:
        try:
            found = features(job.spec, stride, indices)
        except OutputStrideError as error:
            # The user's own setting is never changed silently.
            if "model.backbone.output_stride" in job.options.overrides:
                raise
            print(f"note: {error}; the next coarser one is tried", flush=True)
            continue
        if stride != asked:
            backbone.output_stride = stride
        _require_stages(job, backbone, stride)
        return found
    raise AssertionError("every backbone can be built at output stride 32")


def _require_stages(job: Job, backbone: ConfigDict, output_stride: int) -> None:
    """Unfreeze a network that does not list its stages if only the config's default freezes some of them."""
    first = backbone.get("frozen_stages", -1)
    asked_for = "model.backbone.frozen_stages" in job.options.overrides
    if first < 0 or asked_for or _declared(job.spec, output_stride).staged:
        return
    print(
        f"note: {job.spec} does not tell which of its parameters belong to which map: the config's "
        f"frozen_stages={first} cannot be kept; all of it is trained",
        flush=True,
    )
    backbone.frozen_stages = -1


def describe_batch_norm(config: Config) -> str:
    """Describe the batch norm and the frozen stages, for the protocol."""
    backbone = config.model.backbone
    if backbone.get("frozen"):
        return "the whole backbone frozen, batch norm and all; heads trained"
    statistics = "frozen statistics" if backbone.get("norm_eval") else "trained"
    if config.get("sync_bn"):
        statistics = f"synchronised over {world_size()} GPUs"
    frozen = backbone.get("frozen_stages", -1)
    stages = "no frozen stages" if frozen < 0 else f"stem and {frozen} stage(s) frozen"
    return f"batch norm {statistics}, {stages}"
