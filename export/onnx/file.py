"""An ONNX file of a network: written, run by onnxruntime on real images, and kept only where it agrees with torch."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from contract.errors import UserError

# Of the largest expected value, or of 1 where that is smaller.
TOLERANCE = 1e-3
INPUT = "images"
AXES = {"batch": 0, "height": 2, "width": 3}
# Sizes that vary make formulas of formulas of padding that goes by the size, as TensorFlow's; torch was not done with
# simplifying those of EfficientNet-Lite0 in ten minutes.
MOST_SECONDS = 240.0

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Difference:
    """How far an output is from torch's.

    Attributes:
        output: What is compared.
        value: The difference.
        allowed: The largest that is.
    """

    output: str
    value: float
    allowed: float = TOLERANCE

    @property
    def agrees(self) -> bool:
        """Whether it is small enough; a difference that is not a number is not."""
        return self.value <= self.allowed


def relative(output: str, expected: np.ndarray, found: np.ndarray) -> Difference:
    """The largest difference of two arrays, relative to the largest expected value where that is above 1."""
    if expected.shape != found.shape:
        return Difference(f"{output} (shape {found.shape}, not {expected.shape})", float("inf"))
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    return Difference(output, float(np.abs(expected - found).max(initial=0)) / scale)


@dataclass
class ExportSpec:
    """What is exported.

    Attributes:
        graph: Turns `images` into a tuple of outputs.
        outputs: Their names.
        reference: The same outputs by the trained network's own way of prediction.
        compare: Differences of the reference's outputs and those of the file.
        dynamic: The axes of `images` that may vary, by preference; the first that works is taken.
        metadata: What the file says of itself; values that are not strings are written as JSON.
        output_shapes: Names of axes that depend on what is found in an image, by output.
    """

    graph: nn.Module
    outputs: tuple[str, ...]
    reference: Callable[[Tensor], Arrays]
    compare: Callable[[Arrays, Arrays], list[Difference]]
    dynamic: Sequence[tuple[str, ...]]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    output_shapes: Mapping[str, Sequence[str | int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportResult:
    """A file that agrees with torch.

    Attributes:
        dynamic: The axes of `images` that may vary.
        shapes: The shapes of the images that were compared.
        differences: The largest of each output over all of them.
        notes: Why less varies than was wanted, in sentences.
    """

    dynamic: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


class DisagreementError(Exception):
    """The file computes something else than torch; the message says by how much, and on what."""


def write(network: ExportSpec, images: Sequence[Tensor], path: Path) -> ExportResult:
    """Export a network and check it, with as many varying axes as work.

    Args:
        network: What to export, in evaluation mode.
        images: Real images `(1, 3, H, W)` on the scale 0 to 255, of the type that the file is to take.
        path: The file; it is written at once, or not at all.

    Raises:
        UserError: onnxruntime computes something else than torch, or the network cannot be exported.
    """
    _require_packages()
    notes: list[str] = []
    for dynamic in network.dynamic:
        batches = _batches(images, dynamic)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            _export(network, batches[0], dynamic, temporary)
            differences = _check(network, batches, temporary)
            os.replace(temporary, path)
        except (DisagreementError, _ExportError) as error:
            notes.append(f"with {_in_words(dynamic)}: {error}")
            continue
        finally:
            temporary.unlink(missing_ok=True)
        shapes = tuple(dict.fromkeys(tuple(batch.shape) for batch in batches))
        return ExportResult(dynamic, shapes, tuple(differences), tuple(notes))
    raise UserError(f"{path} is not written: {'; '.join(notes)}")


def _in_words(dynamic: Sequence[str]) -> str:
    return f"varying {', '.join(dynamic)}" if dynamic else "a fixed shape"


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"the package {error.name} is missing, which export needs; install the extra: pip install -e '.[export]'"
        ) from None


class _ExportError(Exception):
    """torch cannot turn the network into a graph."""


class _TooLongError(BaseException):
    """Passes by the exporter, which takes every Exception for a reason to try another way."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `_TooLongError` in what runs inside after that time, where signals reach it: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise _TooLongError

    former = signal.signal(signal.SIGALRM, stop)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        # Whoever had set a timer before, such as pytest-timeout, has it again.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def _export(network: ExportSpec, example: Tensor, dynamic: Sequence[str], path: Path) -> None:
    shapes = {INPUT: {AXES[name]: name for name in dynamic}} if dynamic else None
    disabled = logging.root.manager.disable
    # What the exporter says of its own parts is nothing that a user could mend.
    logging.disable(logging.CRITICAL)
    try:
        # A fixed shape has no formulas, and nothing else to fall back on.
        limit = _time_limit(MOST_SECONDS) if dynamic else nullcontext()
        with warnings.catch_warnings(), torch.no_grad(), limit:
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network.graph.eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=[INPUT],
                output_names=list(network.outputs),
                verbose=False,
            )
    except _TooLongError:
        raise _ExportError(f"torch took more than {MOST_SECONDS:g} s") from None
    except Exception as error:  # whatever a network of the user's own makes the exporter raise
        raise _ExportError(_first_cause(error)) from error
    finally:
        logging.disable(disabled)
    assert program is not None
    _describe(network, dynamic, program.model)
    program.save(path)


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [""]
    return f"torch cannot export it ({type(error).__name__}: {lines[0]})"


def _describe(network: ExportSpec, dynamic: Sequence[str], model: Any) -> None:
    """Put the metadata in, and names that mean something in place of the exporter's own."""
    import onnx_ir

    told = {**network.metadata, "dynamic_axes": list(dynamic)}
    for key, value in told.items():
        model.metadata_props[key] = value if isinstance(value, str) else json.dumps(value)
    for value in model.graph.outputs:
        if value.name in network.output_shapes:
            value.shape = onnx_ir.Shape(network.output_shapes[value.name])


def _batches(images: Sequence[Tensor], dynamic: Sequence[str]) -> list[Tensor]:
    """The images that are compared: shapes other than that of the export prove that an axis varies.

    The first is the example for the export, of two images where the batch varies: torch takes an axis of length 1
    for one that never varies.
    """
    if "height" not in dynamic:
        height, width = images[0].shape[2:]
        images = [image for image in images if image.shape[2:] == (height, width)]
    batches = list(images)
    if "height" in dynamic:
        height, width = images[0].shape[2:]
        # Odd, so that no stride of a network divides them.
        batches.append(images[0][:, :, : height * 4 // 5 | 1, : width * 3 // 4 | 1])
    if "batch" in dynamic:
        pair = [images[0], images[-1]]
        height, width = (min(image.shape[axis] for image in pair) for axis in (2, 3))
        batches.insert(0, torch.cat([image[:, :, :height, :width] for image in pair]))
    return batches


def _check(network: ExportSpec, batches: Sequence[Tensor], path: Path) -> list[Difference]:
    """The largest difference of each output; raises at the first that is too large."""
    run = session(path)
    worst: dict[str, Difference] = {}
    for batch in batches:
        with torch.no_grad():
            expected = network.reference(batch)
        try:
            found = run(batch.numpy())
        except Exception as error:  # onnxruntime's own classes, which are not public
            raise DisagreementError(
                f"onnxruntime fails on images of shape {tuple(batch.shape)} "
                f"({str(error).strip().splitlines()[0]})"
            ) from None
        for difference in network.compare(expected, found):
            if not difference.agrees:
                raise DisagreementError(
                    f"onnxruntime and torch differ by {difference.value:.3g} in {difference.output} on images of "
                    f"shape {tuple(batch.shape)}; at most {difference.allowed:g} is allowed"
                )
            before = worst.setdefault(difference.output, difference)
            if difference.value > before.value:
                worst[difference.output] = difference
    return list(worst.values())


def session(path: Path) -> Callable[[np.ndarray], Arrays]:
    """A function that runs a file on the CPU: images in, all outputs out."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    opened = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    return lambda images: tuple(opened.run(None, {INPUT: images}))


__all__ = ["Difference", "ExportResult", "ExportSpec", "relative", "session", "write"]
