"""Train a step in several forward passes, as many images at a time as the device holds.

Gradients of the passes are added, so a step equals one on all its images, up to rounding, except for trained batch
statistics, which normalise each pass by its own images (engine/runner/batch.py). The running statistics take all passes
of a step together once, as the mean over the processes of a distributed step does.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from torch import Tensor, nn

from contract import progress
from contract.errors import UserError
from engine.measure.memory import GIB, StepMemory, is_out_of_memory
from engine.runner.batch import KEY, NONE, evenly


@HOOKS.register_module()
class DeviceBatchHook(Hook):
    """Train each process's share of a step in passes of `size` images.

    On a GPU, the size is chosen from free memory. If a pass decides no statistics, it is the largest that fits;
    otherwise the published one, or the largest below it that fits.

    Args:
        size: Images of a pass; the last one of a step may have fewer.
        share: Images of the process's step.
        processes: Number of processes.
        fixed: Whether the config sets the size, so that it is not chosen from memory.
        statistics: What a pass decides; see `engine.runner.batch`.
        published: Images behind published batch statistics; None if none are trained.
        keep_numbers: Refuse a size that changes trained statistics.

    Attributes:
        estimate: Computes the memory of a step; None on a device whose memory is not asked.
        chosen: Called with the size once it is known.
    """

    # After the hooks that allocate memory, such as averaged weights.
    priority = "LOW"

    def __init__(
        self,
        size: int,
        share: int,
        processes: int = 1,
        fixed: bool = False,
        statistics: str = NONE,
        published: int | None = None,
        keep_numbers: bool = False,
    ) -> None:
        self.size, self.share, self.processes = size, share, processes
        self.fixed, self.statistics, self.published = fixed, statistics, published
        self.keep_numbers = keep_numbers
        self.estimate: Callable[[Any], StepMemory] | None = None
        self.chosen: Callable[[int], None] = lambda size: None

    def before_train(self, runner: Any) -> None:
        """Choose the size, and replace the model's `train_step`, as mmengine's compilation does.

        Raises:
            UserError: Not even one image fits, or the size must not change and does not fit.
        """
        kept = runner.message_hub.runtime_info.get(KEY)
        if kept is not None and self.statistics != NONE and not self.fixed:
            # A resumed run keeps its statistics, however much memory is free now.
            self.size = min(kept, self.share)
        elif self.estimate is not None and not self.fixed:
            self._choose(runner)
        runner.message_hub.update_info(KEY, self.size)
        self.chosen(self.size)
        model = runner.model
        self.averages = {
            module: module.momentum
            for module in model.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None
        }
        model.train_step = functools.partial(_train_step, model, type(model).train_step, self)

    def _choose(self, runner: Any) -> None:
        assert self.estimate is not None
        # Exchanged before anything can fail on one process alone. The least of all lets them make equally many passes.
        least = torch.tensor(free_bytes())
        all_reduce(least, "min")
        free = int(least)
        try:
            memory = self.estimate(runner)
        except Exception as error:  # the network's code may be the user's
            reason = (str(error).strip().splitlines() or [""])[0]
            _note(
                f"the memory of a step is unknown ({type(error).__name__}: {reason}); passes have {self.size} images"
            )
            return
        start = self.share if self.statistics == NONE else self.size
        fits = next((n for n in halves(start) if memory.of(n) <= free), 0)
        if fits == 0:
            raise UserError(
                f"a training step on one image needs about {memory.of(1) / GIB:.1f} GiB of device memory, and "
                f"{free / GIB:.1f} GiB are free; take a smaller network or image size, or a device with more memory; "
                f"{KEY}=1 tries it without the estimate"
            )
        if fits < self.size and self.statistics != NONE:
            self._shrink(fits, memory, free)
        self.size = evenly(self.share, fits)

    def _shrink(self, fits: int, memory: StepMemory, free: int) -> None:
        """Say, or refuse, that trained statistics are those of fewer images than published."""
        needs = (
            f"{self.size} images of a pass need about {memory.of(self.size) / GIB:.1f} GiB of device memory, and "
            f"{free / GIB:.1f} GiB are free"
        )
        if self.keep_numbers:
            self._refuse(needs, fits)
        _note(
            f"{needs}; passes have {fits}, and batch statistics are those of fewer images than published"
        )

    def _refuse(self, what: str, fits: int) -> NoReturn:
        if progress.is_asked_for() and is_main_process():
            progress.write({KEY: fits, "changes_numbers": self.statistics != NONE})
        also = (
            "" if self.statistics == NONE else "; batch statistics are then those of fewer images"
        )
        raise UserError(f"{what}; set {KEY}={fits} for smaller passes of the same step{also}")

    def weigh(self, fraction: float, done: float) -> None:
        """Set the momentum of batch norm for a pass.

        With momentum m, passes of the fractions w₁, w₂, … of a step and their statistics b₁, b₂, …, the running
        statistics become (1 − m) s + m Σ wᵢ bᵢ after the step. The momentum of pass i is therefore
        m wᵢ / (1 − m + m (w₁ + … + wᵢ)).

        Args:
            fraction: wᵢ.
            done: w₁ + … + wᵢ, up to and including this pass.
        """
        for module, momentum in self.averages.items():
            module.momentum = momentum * fraction / (1 - momentum + momentum * done)

    def restore(self) -> None:
        """Give batch norm its own momentum back."""
        for module, momentum in self.averages.items():
            module.momentum = momentum

    def out_of_memory(self, images: int, error: Exception) -> NoReturn:
        """Raise the sentence for a pass that did not fit.

        Raises:
            UserError: With the key that halves the passes.
        """
        free, total = torch.cuda.mem_get_info() if torch.cuda.is_available() else (0, 0)
        what = f"out of device memory in a pass of {images} images ({free / GIB:.1f} of {total / GIB:.1f} GiB are free)"
        if images <= 1:
            raise UserError(f"{what}; take a smaller network or image size") from error
        self._refuse(what, evenly(images, -(-images // 2)))


def halves(images: int) -> Iterator[int]:
    """Yield the numbers of images, its half, a quarter … down to 1, rounded up."""
    while images > 1:
        yield images
        images = -(-images // 2)
    yield 1


def free_bytes() -> int:
    """Return the memory of the current GPU that tensors can still use."""
    free, _ = torch.cuda.mem_get_info()
    return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def _note(sentence: str) -> None:
    if is_main_process():
        print(f"note: {sentence}", flush=True)


def _train_step(
    model: nn.Module,
    train_step: Callable[..., dict[str, Tensor]],
    hook: DeviceBatchHook,
    data: dict[str, Any],
    optim_wrapper: OptimWrapper,
) -> dict[str, Tensor]:
    count, size = len(data["inputs"]), hook.size
    if count <= size:
        with _memory_named(hook, count):
            return train_step(model, data, optim_wrapper=optim_wrapper)
    logs: dict[str, Tensor] = {}
    for start in range(0, count, size):
        part = {key: values[start : start + size] for key, values in data.items()}
        images = len(part["inputs"])
        share = _ShareOfStep(optim_wrapper, images / count, last=start + size >= count)
        hook.weigh(share.fraction, (start + images) / count)
        with _memory_named(hook, images):
            for name, value in train_step(model, part, optim_wrapper=share).items():
                logs[name] = logs.get(name, 0) + share.fraction * value
    hook.restore()
    return logs


@contextlib.contextmanager
def _memory_named(hook: DeviceBatchHook, images: int) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        hook.out_of_memory(images, error)


class _ShareOfStep:
    """The interface of an optimiser wrapper that `train_step` needs, for one pass of a step."""

    def __init__(self, wrapper: OptimWrapper, fraction: float, *, last: bool) -> None:
        self.wrapper, self.fraction, self.last = wrapper, fraction, last

    @contextlib.contextmanager
    def optim_context(self, model: Any) -> Iterator[None]:
        """Enter the wrapper's context; processes exchange gradients only in the last pass."""
        silent = hasattr(model, "no_sync") and not self.last
        with (
            model.no_sync() if silent else contextlib.nullcontext(),
            self.wrapper.optim_context(model),
        ):
            yield

    def update_params(self, loss: Tensor) -> None:
        """Add the gradients of the loss, a mean over the pass; step after the last one."""
        self.wrapper.backward(self.fraction * loss)
        if self.last:
            self.wrapper.step()
            self.wrapper.zero_grad()
