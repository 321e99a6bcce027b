"""The choice of the decoder of training images: the key `decoder`, the option `--decoder`, or a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process

from contract.errors import UserError, unknown
from contract.settings import DECODERS
from datasets.layouts.imagefolder import open_split
from engine.decoder_speed import measure_decoders
from engine.image_folder import DECODERS as FIXED
from engine.image_folder import needs_pixels
from engine.job import Job
from engine.measure.samples import spaced
from engine.resume import noted_condition

AUTO, CPU, GPU = "auto", "turbo", "cuda"
CONDITION = "decoder"
# Files of the training set that both decoders are measured on.
_FILES = 64


def initial_decoder(asked: str, job: Job, pipeline: Sequence[Mapping[str, Any]]) -> str:
    """Return the decoder as far as it is known before a measurement: `turbo` if one is needed.

    Args:
        asked: The config's key `decoder`.
        job: The job.
        pipeline: The transforms of training images.

    Raises:
        UserError: The decoder is unknown, or a GPU is asked for and cannot decode this job's images.
    """
    if asked not in (AUTO, *FIXED):
        raise unknown("decoder", asked, (AUTO, *FIXED))
    if asked == AUTO:
        allowed = _obstacle(job, pipeline) is None
        return job.options.decoder or CPU if allowed else CPU
    if asked == GPU and (problem := _obstacle(job, pipeline)) is not None:
        raise UserError(f"decoder={GPU!r} was given, but {problem}; take decoder={AUTO!r}")
    return asked


def _obstacle(job: Job, pipeline: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why a GPU cannot decode a job's images, as one clause; None if it may."""
    if job.device_type != "cuda":
        return "the run trains on the CPU"
    return needs_pixels(pipeline)


def settle(asked: str, job: Job, config: Config) -> str:
    """Choose the decoder of a finished config, in place, and return it. All processes of the run call this.

    Both decoders are measured if `decoder` is `auto` and neither `--decoder` nor the checkpoint to resume from
    says which. The first process decides for all.

    Args:
        asked: The config's key `decoder`.
        job: The job.
        config: The Runner config, in which `initial_decoder` was stored.

    Raises:
        UserError: The GPU was asked for and fails.
    """
    dataset: Any = config.train_dataloader.dataset.dataset
    if job.device_type != "cuda":
        return dataset.decoder
    found: list[Any] = [None, None]
    if is_main_process():
        found = _decide(asked, job, config, dataset)
    broadcast_object_list(found)
    decoder, problem = found
    if problem is not None:
        raise UserError(problem)
    dataset.decoder = decoder
    return decoder


def _decide(asked: str, job: Job, config: Config, dataset: Any) -> list[Any]:
    """Return the decoder and None, or None and what is wrong; print the choice."""
    decoder, reason = dataset.decoder, ""
    is_open = asked == AUTO and job.options.decoder is None
    if is_open and needs_pixels(dataset.pipeline) is None:
        kept = noted_condition(job.options.work_dir, CONDITION) if job.options.resume else None
        if kept in DECODERS:
            print(f"decoder:   {kept}, as before")
            return [kept, None]
        measured = _measure(config, dataset)
        if not isinstance(measured, str):
            print(f"decoder:   {measured}")
            return [measured.choice, None]
        decoder, reason = CPU, f": {measured}"
    elif decoder == GPU and isinstance(failed := _measure(config, dataset), str):
        return [None, f"the decoder {GPU!r} was asked for, but {failed}; take {CPU!r}"]
    print(f"decoder:   {decoder}{reason}")
    return [decoder, None]


def _measure(config: Config, dataset: Any) -> Any:
    samples = open_split(Path(dataset.root)).samples()
    files = []
    for index in spaced(len(samples), _FILES):
        try:
            files.append(samples.read(index))
        except (OSError, UserError) as error:
            return f"the image {samples.described(index)} cannot be read ({error})"
    size = dataset.pipeline[0]["size"]
    side = size if isinstance(size, int) else max(size)
    return measure_decoders(files, max(1, config.train_dataloader.num_workers), side)
