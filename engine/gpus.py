"""The GPUs that torch can use, and the reason if it can use none of those that are present."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from engine.hardware import AMD, NVIDIA, Card, Hardware
from engine.runner.precision import automatic_dtype

CUDA_VARIABLE, HIP_VARIABLE = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"
_ROCR_VARIABLE = "ROCR_VISIBLE_DEVICES"
# The oldest driver of a CUDA major version, by NVIDIA's compatibility guide; newer minor versions run on it too.
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
OLDEST_DRIVER = {12: 525, 13: 580}
_WAY_OUT = "or train on the CPU with --device cpu"
_SEE = "docs/install.md names the builds"


@dataclass(frozen=True)
class Gpu:
    """A GPU that one run can use.

    Attributes:
        id: Its name in the variable of `visible_variable`.
        name: The product's name, with the share of a MIG instance.
        total_memory: Its memory in bytes; None if torch does not show it, which holds for all MIG instances but one.
        capability: The compute capability; None if torch does not show it.
        arch_supported: Whether torch has kernels for it; True if the capability is unknown.
        left_out: Why runs do not use it beside the first GPU; None if they do.
        uuid: NVIDIA's identifier; None if it is unknown. The driver's order of GPUs may differ from torch's.
    """

    id: str
    name: str
    total_memory: int | None = None
    capability: tuple[int, int] | None = None
    arch_supported: bool = True
    left_out: str | None = None
    uuid: str | None = None


def visible_variable() -> str:
    """Return the environment variable that gives a process its GPUs."""
    return HIP_VARIABLE if torch.version.hip else CUDA_VARIABLE


def chosen_ids() -> tuple[str, ...] | None:
    """Return the GPUs that the environment chooses, as written there; None if it chooses none."""
    names = (HIP_VARIABLE, CUDA_VARIABLE) if torch.version.hip else (CUDA_VARIABLE,)
    value = next((os.environ[name] for name in names if name in os.environ), None)
    return None if value is None else _ids(value)


def gpu_index() -> int:
    """Return the number of this process's GPU among those that it sees.

    torchrun starts all processes of a machine with the same GPUs in sight, and each takes that of its local rank.
    Slurm's srun can give each process one of its own, which is number 0 whatever the rank.
    """
    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    if not by_torchrun and torch.cuda.device_count() == 1:
        return 0
    return int(os.environ.get("LOCAL_RANK", "0"))


def hidden_by() -> str | None:
    """Return the setting by which the user hid all GPUs, such as `CUDA_VISIBLE_DEVICES=''`; None without one."""
    names = [CUDA_VARIABLE]
    if torch.version.cuda is None:
        names += [HIP_VARIABLE, _ROCR_VARIABLE]
    for name in names:
        if name in os.environ and not _ids(os.environ[name]):
            return f"{name}={os.environ[name]!r}"
    return None


def _ids(value: str) -> tuple[str, ...]:
    """Split the value of a variable; as in CUDA, the first entry that names no GPU ends the list."""
    found = []
    for entry in value.split(","):
        if not re.match(r"\d|GPU-|MIG-", entry.strip()):
            break
        found.append(entry.strip())
    return tuple(found)


def list_gpus(hardware: Hardware) -> list[Gpu]:
    """Return the GPUs for runs, each with one process; torch must be able to use one.

    A process sees only one MIG instance, so the instances come from `hardware`.
    """
    seen = list(_seen_by_torch())
    if any(card.instances for card in hardware.cards):
        known = {gpu.id: gpu for gpu in seen}
        return list(_alike([known.get(gpu.id, gpu) for gpu in _with_instances(hardware.cards)]))
    return list(_alike(seen))


def _seen_by_torch() -> Iterator[Gpu]:
    ids = chosen_ids()
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        capability = (gpu.major, gpu.minor)
        name = str(index) if ids is None or index >= len(ids) else ids[index]
        yield Gpu(
            name,
            gpu.name,
            gpu.total_memory,
            capability,
            arch_supported(capability),
            # torch may show the whole GPU's for a MIG instance.
            uuid=name if name.startswith("MIG-") else _uuid(gpu),
        )


def _uuid(properties: Any) -> str | None:
    """Return the identifier as NVIDIA's driver writes it; AMD's tools use another one."""
    uuid = getattr(properties, "uuid", None)
    return None if uuid is None or torch.version.hip else f"GPU-{uuid}"


def _with_instances(cards: Sequence[Card]) -> list[Gpu]:
    """Return the MIG instances of divided GPUs and the other GPUs, all by UUID, in the environment's choice."""
    every = [
        (index, card, _listed(card, uuid, name))
        for index, card in enumerate(cards)
        for uuid, name in (
            [(one.uuid, f"{card.name} {one.profile}") for one in card.instances]
            or [(card.uuid, card.name)]
        )
    ]
    ids = chosen_ids()
    if ids is None:
        return [gpu for _, _, gpu in every]
    found: dict[str, Gpu] = {}
    for wanted in ids:
        named = [
            gpu
            for index, card, gpu in every
            if wanted == str(index) or card.uuid.startswith(wanted) or gpu.id.startswith(wanted)
        ]
        for gpu in named or [Gpu(wanted, "MIG instance")]:
            found[gpu.id] = gpu
    return list(found.values())


def _listed(card: Card, uuid: str, name: str) -> Gpu:
    """Return a GPU or an instance that torch does not show in this process; its capability is the card's."""
    supported = card.capability is None or arch_supported(card.capability)
    return Gpu(uuid, name, capability=card.capability, arch_supported=supported, uuid=uuid)


def _alike(gpus: Sequence[Gpu]) -> Iterator[Gpu]:
    """Mark the GPUs that cannot do what the first one does, because all runs of a table train in the same format."""
    first = gpus[0].capability if gpus else None
    for gpu in gpus:
        reason = None
        if not gpu.arch_supported:
            reason = f"torch {torch.__version__} has no kernels for it"
        elif first and gpu.capability and automatic_dtype(gpu.capability) != automatic_dtype(first):
            reason = f"GPU {gpus[0].id} ({gpus[0].name}) has another number format"
        yield replace(gpu, left_out=reason)


def arch_supported(capability: tuple[int, int]) -> bool:
    """Return whether torch has kernels for a compute capability.

    A binary (`sm_80`) runs on GPUs of the same major version and the same or a higher minor version, a binary for
    one architecture (`sm_90a`) on this alone, and PTX (`compute_90`) on all later GPUs.
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#binary-compatibility
    """
    architectures = torch.cuda.get_arch_list()
    if (
        torch.version.hip or not architectures
    ):  # AMD's are named otherwise, and torch itself refuses them
        return True
    for architecture in architectures:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", architecture)
        if found is None:
            continue
        kind, built, suffix = found[1], (int(found[2]), int(found[3])), found[4]
        if capability == built:
            return True
        if suffix != "a" and kind == "sm" and capability[0] == built[0] and capability >= built:
            return True
        if not suffix and kind == "compute" and capability >= built:
            return True
    return False


def check_architecture(index: int) -> str | None:
    """Return why torch cannot compute on a GPU that it sees; None if it can."""
    capability = torch.cuda.get_device_capability(index)
    if arch_supported(capability):
        return None
    others = [str(i) for i in range(torch.cuda.device_count()) if i != index]
    able = [i for i in others if arch_supported(torch.cuda.get_device_capability(int(i)))]
    another = f"take another GPU with {CUDA_VARIABLE}={able[0]}, " if able else ""
    return (
        f"{torch.cuda.get_device_name(index)} has compute capability {capability[0]}.{capability[1]}, for which torch "
        f"{torch.__version__} has no kernels (it has {' '.join(torch.cuda.get_arch_list())}); {another}install a "
        f"build of torch for this GPU ({_SEE}), {_WAY_OUT}"
    )


def unusable(hardware: Hardware) -> str:
    """Return why torch cannot use the GPUs of this machine, and the two ways out, as a sentence."""
    cards = hardware.cards
    listed = ", ".join(dict.fromkeys(card.name for card in cards))
    driver = f", driver {hardware.driver}" if hardware.driver else ""
    subject = "1 GPU is" if len(cards) == 1 else f"{len(cards)} GPUs are"
    reason, way = _reason(hardware)
    return (
        f"{subject} present ({listed}{driver}), but torch {torch.__version__} cannot use "
        f"{'it' if len(cards) == 1 else 'them'}: {reason}; {way}, {_WAY_OUT}"
    )


def _reason(hardware: Hardware) -> tuple[str, str]:
    if not hardware.loaded:
        return (
            "the NVIDIA driver is not loaded",
            "install or repair the driver, so that nvidia-smi lists the GPU",
        )
    install = f"install a build of torch for {{}} ({_SEE})"
    if torch.version.cuda is None and torch.version.hip is None:
        platform = "ROCm" if hardware.vendor == AMD else "CUDA"
        return "it is a build for CPUs", install.format(platform)
    if hardware.vendor == AMD and torch.version.hip is None:
        return f"it is a build for CUDA {torch.version.cuda}", install.format("ROCm")
    if hardware.vendor == NVIDIA and torch.version.cuda is None:
        return f"it is a build for ROCm {torch.version.hip}", install.format("CUDA")
    ids, variable = chosen_ids(), visible_variable()
    if ids and all(i.isdigit() and int(i) >= len(hardware.cards) for i in ids):
        return f"{variable}={','.join(ids)} names none of them", f"correct {variable}"
    needed = needed_driver()
    major = int((hardware.driver or "0").split(".")[0])
    if hardware.vendor == NVIDIA and needed is not None and 0 < major < needed:
        older = [version for version, oldest in OLDEST_DRIVER.items() if major >= oldest]
        way = f", {install.format(f'CUDA {older[-1]}')}" if older else ""
        return (
            f"CUDA {torch.version.cuda} needs driver {needed} or newer",
            f"update the driver{way}",
        )
    if not hardware.granted:
        return (
            "this process was given none of them",
            "start the container with `--gpus all`, or the batch job with a GPU (Slurm: `--gres=gpu:1`)",
        )
    return _driver_error(), "repair the driver"


def needed_driver() -> int | None:
    """Return the oldest driver for torch's version of CUDA; None if it is unknown."""
    return OLDEST_DRIVER.get(int((torch.version.cuda or "0").split(".")[0]))


def _driver_error() -> str:
    """Return the first sentence of the driver's own message."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        text = " ".join(str(error).split())
        return f'CUDA reports "{text[:160].rstrip(". ")}"'
    return "CUDA reports no device"
