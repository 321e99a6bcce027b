"""A task's resolved options: checkpoint metadata, spec and precision."""

from __future__ import annotations

from dataclasses import dataclass

from backbones import CheckpointMetadata, read_metadata
from contract.errors import UserError
from engine.cli import Options
from engine.runner.precision import Precision, choose_precision


@dataclass(frozen=True)
class Job:
    """A task's options with everything that its assembly needs.

    Attributes:
        options: The command line.
        spec: The backbone to build.
        source: The pretrained checkpoint's metadata; None if the weights are random.
        precision: The resolved precision.
    """

    options: Options
    spec: str
    source: CheckpointMetadata | None
    precision: Precision

    @property
    def pretrained(self) -> bool:
        """Whether the backbone comes from a checkpoint."""
        return self.source is not None


def resolve_job(options: Options) -> Job:
    """Read the checkpoint's metadata and choose the precision.

    Raises:
        UserError: Neither a backbone nor a checkpoint is named, the checkpoint is unusable, or the device does not
            support the precision.
    """
    source = read_metadata(options.checkpoint) if options.checkpoint is not None else None
    spec = options.backbone or (source.spec if source else None)
    if spec is None:
        raise UserError(
            "no backbone was named; give --backbone SPEC (see python -m backbones) or --checkpoint FILE"
        )
    return Job(options, spec, source, choose_precision(options.precision))
