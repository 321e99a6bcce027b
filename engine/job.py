"""A task's resolved options: checkpoint metadata, spec, device and precision."""

from __future__ import annotations

from dataclasses import dataclass

from backbones import CheckpointMetadata, read_metadata
from contract.errors import UserError
from engine.cli import Options
from engine.runner.device import resolve_device
from engine.runner.precision import Precision, choose_precision


@dataclass(frozen=True)
class Job:
    """A task's options with everything that its assembly needs.

    Attributes:
        options: The command line.
        spec: The backbone to build.
        source: The pretrained checkpoint's metadata; None if the weights are random.
        precision: The resolved precision.
        device_reason: Why its device was chosen, as one clause.
    """

    options: Options
    spec: str
    source: CheckpointMetadata | None
    precision: Precision
    device_reason: str = ""

    @property
    def pretrained(self) -> bool:
        """Whether the backbone comes from a checkpoint."""
        return self.source is not None

    @property
    def device_type(self) -> str:
        """The resolved device: `cpu` or `cuda`."""
        return self.precision.device_type


def resolve_job(options: Options) -> Job:
    """Read the checkpoint's metadata and choose device and precision.

    Raises:
        UserError: Neither a backbone nor a checkpoint is named, the checkpoint is unusable, the device cannot be
            used, or it does not support the precision.
    """
    source = read_metadata(options.checkpoint) if options.checkpoint is not None else None
    spec = options.backbone or (source.spec if source else None)
    if spec is None:
        raise UserError(
            "no backbone was named; give --backbone SPEC (see python -m backbones) or --checkpoint FILE"
        )
    device = resolve_device(options.device)
    precision = choose_precision(options.precision, device.type)
    return Job(options, spec, source, precision, device.reason)
