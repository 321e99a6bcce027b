"""Load published weights of a network through its library's loader and cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor

from backbones.checkpoint.format import CheckpointError
from backbones.normalisation import Normalisation
from contract.errors import UserError, unknown

_Three = tuple[float, float, float]
Published = tuple[dict[str, Tensor], Normalisation, str]


def published_weights(spec: str, tag: str | None = None) -> Published:
    """Load weights that timm or torchvision publishes; they are downloaded if the cache does not have them.

    timm's loader downloads files from the Hugging Face hub or GitHub and reads only tensors. torchvision downloads
    them from its own host and checks the hash in their name. Caches: `HF_HOME`, `TORCH_HOME`.

    Args:
        spec: `"timm:NAME[.TAG]"` or `"torchvision:NAME"`.
        tag: Tag of torchvision's weights, as in `"IMAGENET1K_V1"`; None takes torchvision's default.

    Returns:
        The tensors of the whole classifier by name, their normalisation, and a name for the weights.

    Raises:
        CheckpointError: The weights cannot be loaded.
        UserError: The library publishes no such weights.
    """
    prefix, _, name = spec.partition(":")
    if prefix == "timm":
        if tag is not None:
            raise UserError(
                f"the tag of timm's weights is part of the name: write timm:{name}.{tag}"
            )
        return _of_timm(name)
    if prefix == "torchvision":
        return _of_torchvision(name, tag)
    raise UserError(
        f"nobody publishes weights of {spec!r} under this name; take a timm: or torchvision: network, or give a file"
    )


def _of_timm(name: str) -> Published:
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise unknown("timm model", architecture, timm.list_models())
    known = timm.list_pretrained(f"{architecture}.*")
    if "." in name and name not in known:
        raise unknown(f"timm weights of {architecture}:", name, known)
    if not known:
        raise UserError(f"timm publishes no weights of {architecture}; give a file")
    with torch.random.fork_rng(devices=[]):
        try:
            # timm and torchvision annotate less than they return.
            network: Any = timm.create_model(name, pretrained=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise _unreachable(f"timm:{name}", error) from None
    config = network.pretrained_cfg
    mean, std = _scaled(config["mean"]), _scaled(config["std"])
    tag = config.get("tag") or "its default"
    return network.state_dict(), (mean, std, "RGB"), f"timm {architecture}.{tag}"


def _of_torchvision(name: str, tag: str | None) -> Published:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise unknown("torchvision model", name, known)
    choices: Any = torchvision.models.get_model_weights(name)
    tags = [entry.name for entry in choices]
    if tag is not None and tag not in tags:
        raise unknown(f"torchvision weights of {name}:", tag, tags)
    chosen = choices[tag] if tag is not None else choices.DEFAULT
    try:
        tensors = dict(chosen.get_state_dict(progress=True, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise _unreachable(str(chosen), error) from None
    transforms = chosen.transforms()
    mean, std = _scaled(transforms.mean), _scaled(transforms.std)
    return tensors, (mean, std, "RGB"), f"torchvision {chosen}"


def _scaled(values: Sequence[float]) -> _Three:
    """Convert values for pixels from 0 to 1 to values for 0 to 255."""
    red, green, blue = values
    return 255 * red, 255 * green, 255 * blue


def _unreachable(name: str, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return CheckpointError(
        f"the weights of {name} cannot be loaded ({reason}); they are downloaded once and kept in the cache of their "
        "library (HF_HOME, TORCH_HOME): run this with access to the network, or give a file instead of 'published'"
    )
