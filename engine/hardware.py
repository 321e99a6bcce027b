"""The GPUs of this machine as driver and kernel list them, whether or not torch can use them. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from contract.machine import nvidia_smi

NVIDIA, AMD = "NVIDIA", "AMD"
# The kernel lists the graphics units of AMD's processors too; they have less memory of their own than any card that
# trains networks.
_SMALLEST_AMD_BYTES = 7 * 1024**3
# Memory of the GPU itself, as the kernel numbers it (`HSA_HEAPTYPE_FRAME_BUFFER_*` in hsakmttypes.h).
_OWN_MEMORY = ("1", "2")


@dataclass(frozen=True)
class Instance:
    """A MIG instance: a part of an NVIDIA GPU that works as a GPU of its own.

    Attributes:
        uuid: Its name in CUDA_VISIBLE_DEVICES.
        profile: Its share, such as `3g.20gb`.
    """

    uuid: str
    profile: str


@dataclass(frozen=True)
class Card:
    """A GPU.

    Attributes:
        name: The product's name.
        uuid: NVIDIA's identifier; empty if it is unknown.
        instances: Its MIG instances; empty if it is not divided.
        capability: The compute capability, if it is divided; torch shows that of one instance only.
    """

    name: str
    uuid: str = ""
    instances: tuple[Instance, ...] = ()
    capability: tuple[int, int] | None = None


@dataclass(frozen=True)
class Hardware:
    """The GPUs of one vendor.

    Attributes:
        vendor: `NVIDIA` or `AMD`; empty if there is no GPU.
        cards: The GPUs, in the order of the PCI bus.
        driver: The version of the kernel driver; None if it is unknown.
        loaded: Whether the driver is loaded; if not, the GPUs are those on the PCI bus.
        granted: Whether this process sees the devices' files. A container or a batch job may have been given none.
    """

    vendor: str = ""
    cards: tuple[Card, ...] = ()
    driver: str | None = None
    granted: bool = True
    loaded: bool = True


def find_hardware(root: Path = Path("/")) -> Hardware:
    """Look for NVIDIA GPUs, then for AMD GPUs.

    Args:
        root: The folder that contains `dev`, `proc` and `sys`.
    """
    listed = _ask_nvidia_smi()
    cards = listed or tuple(_nvidia_cards(root))
    if cards:
        granted = bool(listed or _nvidia_files(root))
        return Hardware(NVIDIA, cards, _nvidia_driver(root), granted)
    cards = tuple(_amd_cards(root))
    if cards:
        driver = _text(root / "sys/module/amdgpu/version").strip() or None
        return Hardware(AMD, cards, driver, (root / "dev/kfd").exists())
    cards = tuple(_nvidia_on_bus(root))
    return Hardware(NVIDIA, cards, loaded=False) if cards else Hardware()


def parse_nvidia_smi(text: str) -> tuple[Card, ...]:
    """Read the output of `nvidia-smi -L`, in which a MIG instance is indented below its GPU."""
    cards: list[Card] = []
    for line in text.splitlines():
        if found := re.match(r"GPU \d+: (.+?) \(UUID: (GPU-[^)]+)\)", line):
            cards.append(Card(found[1], found[2]))
        elif cards and (
            found := re.match(r"\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (MIG-[^)]+)\)", line)
        ):
            instance = Instance(found[2], found[1])
            cards[-1] = replace(cards[-1], instances=(*cards[-1].instances, instance))
    return tuple(cards)


def _ask_nvidia_smi() -> tuple[Card, ...]:
    cards = parse_nvidia_smi(nvidia_smi("-L"))
    if not any(card.instances for card in cards):
        return cards
    text = nvidia_smi("--query-gpu=uuid,compute_cap", "--format=csv,noheader")
    known = {uuid: (int(x), int(y)) for uuid, x, y in re.findall(r"(GPU-\S+), (\d+)\.(\d+)", text)}
    return tuple(replace(card, capability=known.get(card.uuid)) for card in cards)


def _nvidia_cards(root: Path) -> Iterator[Card]:
    """Yield the GPUs that the kernel module lists, or for which there are device files."""
    folders = sorted((root / "proc/driver/nvidia/gpus").glob("*"))
    for folder in folders:
        facts = dict(re.findall(r"^(.+?):\s*(.*)$", _text(folder / "information"), re.M))
        yield Card(facts.get("Model") or "NVIDIA GPU", facts.get("GPU UUID", ""))
    if not folders:
        yield from (Card("NVIDIA GPU") for _ in _nvidia_files(root))


def _nvidia_on_bus(root: Path) -> Iterator[Card]:
    """Yield the NVIDIA GPUs on the PCI bus, which do not need a driver to be listed."""
    for folder in sorted((root / "sys/bus/pci/devices").glob("*")):
        kind = _text(folder / "class").strip()
        # Graphics and compute controllers; a card's sound and USB controllers have other classes.
        if _text(folder / "vendor").strip() == "0x10de" and kind[:6] in ("0x0300", "0x0302"):
            yield Card(f"NVIDIA GPU at {folder.name}")


def _nvidia_files(root: Path) -> list[Path]:
    return sorted((root / "dev").glob("nvidia[0-9]*"))


def _nvidia_driver(root: Path) -> str | None:
    text = _text(root / "proc/driver/nvidia/version")
    found = re.search(r"\b\d{3}\.\d+(?:\.\d+)?\b", text)
    if found is None:  # under WSL, the driver is that of Windows
        text = nvidia_smi("--query-gpu=driver_version", "--format=csv,noheader")
        found = re.search(r"\b\d{3}\.\d+(?:\.\d+)?\b", text)
    return found and found[0]


def _amd_cards(root: Path) -> Iterator[Card]:
    for node in sorted((root / "sys/class/kfd/kfd/topology/nodes").glob("*")):
        facts = _pairs(node / "properties")
        if int(facts.get("simd_count", "0")) == 0:
            continue  # a processor
        banks = [_pairs(path) for path in node.glob("mem_banks/*/properties")]
        memory = sum(
            int(bank.get("size_in_bytes", "0"))
            for bank in banks
            if bank.get("heap_type") in _OWN_MEMORY
        )
        if memory >= _SMALLEST_AMD_BYTES:
            # 90402 is gfx942: two digits each of minor version and stepping, in hexadecimal.
            version = int(facts.get("gfx_target_version", "0"))
            architecture = f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
            yield Card(f"AMD {architecture}" if version else "AMD GPU")


def _pairs(path: Path) -> dict[str, str]:
    return dict(line.split()[:2] for line in _text(path).splitlines() if len(line.split()) > 1)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
