"""Write a network's ONNX file, run it with onnxruntime on real images, and keep it only if it agrees with torch."""

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

# Relative to the largest expected value, or to 1 if that is larger.
TOLERANCE = 1e-3
INPUT = "images"
AXES = {"batch": 0, "height": 2, "width": 3}
# Padding that depends on a varying size, as in TensorFlow, gives nested formulas. torch took more than ten minutes
# for EfficientNet-Lite0.
MOST_SECONDS = 240.0

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Difference:
    """The difference of an output from torch's.

    Attributes:
        output: The output's name.
        value: The difference.
        allowed: The largest allowed one.
    """

    output: str
    value: float
    allowed: float = TOLERANCE

    @property
    def agrees(self) -> bool:
        """Whether the difference is small enough; NaN is not."""
        return self.value <= self.allowed


def relative(output: str, expected: np.ndarray, found: np.ndarray) -> Difference:
    """Return the largest difference of two arrays, relative to the largest expected value if that is above 1."""
    if expected.shape != found.shape:
        return Difference(f"{output} (shape {found.shape}, not {expected.shape})", float("inf"))
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    return Difference(output, float(np.abs(expected - found).max(initial=0)) / scale)


@dataclass
class ExportSpec:
    """A network to export.

    Attributes:
        graph: Maps `images` to a tuple of outputs.
        outputs: Names of the outputs.
        reference: Computes the same outputs with the trained network's own prediction.
        compare: Returns the differences of the reference's outputs and the file's.
        dynamic: Sets of axes of `images` that vary, in order of preference; the first set that works is used.
        metadata: The file's metadata; values that are not strings are written as JSON.
        output_shapes: Shapes of outputs, with names for the axes that depend on the image.
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
        dynamic: The axes of `images` that vary.
        shapes: The shapes of the images that were compared.
        differences: The largest difference of each output over all images.
        notes: Sentences on sets of axes that did not work.
    """

    dynamic: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


class DisagreementError(Exception):
    """The outputs of file and torch differ; the message has the difference and the images."""


def write(spec: ExportSpec, images: Sequence[Tensor], path: Path) -> ExportResult:
    """Export a network and check it, with as many varying axes as work.

    Args:
        spec: The network, in evaluation mode.
        images: Real images `(1, 3, H, W)` on the scale 0 to 255, of the file's input type.
        path: The file; it is written atomically.

    Raises:
        UserError: The outputs of onnxruntime and torch differ, or the network cannot be exported.
    """
    _require_packages()
    notes: list[str] = []
    for dynamic in spec.dynamic:
        batches = _batches(images, dynamic)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            _export(spec, batches[0], dynamic, temporary)
            differences = _check(spec, batches, temporary)
            os.replace(temporary, path)
        except (DisagreementError, _ExportError) as error:
            notes.append(f"with {_description(dynamic)}: {error}")
            continue
        finally:
            temporary.unlink(missing_ok=True)
        shapes = tuple(dict.fromkeys(tuple(batch.shape) for batch in batches))
        return ExportResult(dynamic, shapes, tuple(differences), tuple(notes))
    raise UserError(f"{path} is not written: {'; '.join(notes)}")


def _description(dynamic: Sequence[str]) -> str:
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
    """torch cannot export the network as a graph."""


class _TooLongError(BaseException):
    """The time limit is exceeded; not an `Exception`, because the exporter catches those and tries another method."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `_TooLongError` inside the context after that time; only the main thread receives signals."""
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
        # Restore an earlier timer, such as pytest-timeout's.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def _export(spec: ExportSpec, example: Tensor, dynamic: Sequence[str], path: Path) -> None:
    shapes = {INPUT: {AXES[name]: name for name in dynamic}} if dynamic else None
    disabled = logging.root.manager.disable
    # The exporter's messages about its internals do not help the user.
    logging.disable(logging.CRITICAL)
    try:
        # A fixed shape has no formulas, and there is no alternative.
        limit = _time_limit(MOST_SECONDS) if dynamic else nullcontext()
        with warnings.catch_warnings(), torch.no_grad(), limit:
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                spec.graph.eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=[INPUT],
                output_names=list(spec.outputs),
                verbose=False,
            )
    except _TooLongError:
        raise _ExportError(f"torch took more than {MOST_SECONDS:g} s") from None
    except Exception as error:  # a user's network can make the exporter raise anything
        raise _ExportError(_first_cause(error)) from error
    finally:
        logging.disable(disabled)
    assert program is not None
    _describe(spec, dynamic, program.model)
    program.save(path)


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [""]
    return f"torch cannot export it ({type(error).__name__}: {lines[0]})"


def _describe(spec: ExportSpec, dynamic: Sequence[str], model: Any) -> None:
    """Add the metadata, and replace the exporter's names of axes with meaningful ones."""
    import onnx_ir

    entries = {**spec.metadata, "dynamic_axes": list(dynamic)}
    for key, value in entries.items():
        model.metadata_props[key] = value if isinstance(value, str) else json.dumps(value)
    for value in model.graph.outputs:
        if value.name in spec.output_shapes:
            value.shape = onnx_ir.Shape(spec.output_shapes[value.name])


def _batches(images: Sequence[Tensor], dynamic: Sequence[str]) -> list[Tensor]:
    """Return the batches to compare: shapes that differ from the export's prove that an axis varies.

    The first batch is the example for the export. It has two images if the batch varies, because torch treats an axis
    of length 1 as one that never varies.
    """
    if "height" not in dynamic:
        height, width = images[0].shape[2:]
        images = [image for image in images if image.shape[2:] == (height, width)]
    batches = list(images)
    if "height" in dynamic:
        height, width = images[0].shape[2:]
        # Odd sizes, which are not multiples of any stride.
        batches.append(images[0][:, :, : height * 4 // 5 | 1, : width * 3 // 4 | 1])
    if "batch" in dynamic:
        pair = [images[0], images[-1]]
        height, width = (min(image.shape[axis] for image in pair) for axis in (2, 3))
        batches.insert(0, torch.cat([image[:, :, :height, :width] for image in pair]))
    return batches


def _check(spec: ExportSpec, batches: Sequence[Tensor], path: Path) -> list[Difference]:
    """Return the largest difference of each output.

    Raises:
        DisagreementError: A difference is too large.
    """
    run = session(path)
    worst: dict[str, Difference] = {}
    for batch in batches:
        with torch.no_grad():
            expected = spec.reference(batch)
        try:
            found = run(batch.numpy())
        except Exception as error:  # onnxruntime's own classes, which are not public
            raise DisagreementError(
                f"onnxruntime fails on images of shape {tuple(batch.shape)} "
                f"({str(error).strip().splitlines()[0]})"
            ) from None
        for difference in spec.compare(expected, found):
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
    """Return a function that runs a file on the CPU, from images to all outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    opened: Any = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    return lambda images: tuple(opened.run(None, {INPUT: images}))
