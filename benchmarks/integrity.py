"""Checks across the cells of a run: do its numbers belong in one table?

A single result can be sound and the table still wrong: two protocols in one column, a pretrained
row whose detector started from random weights. Such findings hide no number; they stand above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.results import Result, Run, metric_values, read_curves
from benchmarks.suite_schema import PERCENTAGES, STAGES

# A protocol also says how the backbone was held in training. The control has to train what
# pretrained rows freeze, so rows may differ in it; the protocol line then says which row had what.
# Tricks, averaged weights and the batch among them, are what rows are about.
TRAINING_KEYS = ("backbone", "weights", "tricks", "batch", "images", "layer_decay")
# Of 205 trainings that learnt, the loss over a tenth of one was never more than 1.54 times that of its first tenth;
# of those that diverged, 4 to 10 times.
DIVERGED = 2.0


def find_warnings(run: Run) -> tuple[str, ...]:
    """Return one sentence for each reason to question the table.

    Args:
        run: A run folder as read.

    Returns:
        The warnings, worst first; empty where all is well.
    """
    return (
        *_transfer_warnings(run),
        *_divergence_warnings(run),
        *_teacher_warnings(run),
        *_mixture_warnings(run.results, run.intended),
        *_image_warnings(run.results),
        *(cost_warnings(run) if any(n not in PERCENTAGES for n in run.columns) else ()),
    )


def _transfer_warnings(run: Run) -> Iterator[str]:
    """Check every receipt against what its row says about pretraining."""
    pretrained = {row.name for row in run.rows if row.pretrain}
    digests: dict[tuple[str, int], set[str]] = {}
    for cell in run.cells:
        if cell.result is None or cell.stage == "cls":
            continue
        name = f"{cell.row} · {cell.stage} · seed {cell.seed}"
        receipt = cell.result.checkpoint
        if receipt is None:
            if cell.row in pretrained:
                yield f"{name} started from random weights, though its row is pretrained."
            continue
        if cell.row not in pretrained:
            yield f"{name} loaded a checkpoint, though its row trains from scratch."
        if receipt.matched != receipt.total:
            yield (
                f"{name} took over {receipt.matched} of {receipt.total} tensors of its checkpoint; "
                "the transfer is partial."
            )
        digests.setdefault((cell.row, cell.seed), set()).add(receipt.sha256)
    for (row, seed), found in digests.items():
        if len(found) > 1:
            yield f"{row} · seed {seed}: its stages loaded different checkpoints."


def diverged(run: Run) -> dict[tuple[str, str], dict[int, float]]:
    """Find trainings whose loss rose far above its start, though they ended and have a score.

    Returns:
        By row and stage, and by seed: how many times its start the loss rose to. Nothing of a smoke run.
    """
    rises: dict[tuple[str, str], dict[int, float]] = {}
    for cell in run.cells:
        if cell.result is not None and run.budget != "smoke":
            losses = [loss for _, loss in read_curves(cell.result).loss]
            if (rise := _rise(losses)) > DIVERGED:
                rises.setdefault((cell.row, cell.stage), {})[cell.seed] = rise
    return rises


def _divergence_warnings(run: Run) -> Iterator[str]:
    """Say of diverged trainings what their scores are worth, and what to do."""
    for (row, stage), found in diverged(run).items():
        seeds = ", ".join(map(str, found))
        factors = ", ".join(f"{rise:.1f}" for rise in found.values())
        remedy = (
            "Lower its rate by `cls_lr` in the row."
            if stage == "cls"
            else f"Try the same rates for every row: python -m benchmarks sweep SUITE --stage {stage} --factors "
            "0.1 0.3 1."
        )
        yield (
            f"{row} · {stage} · seed{'s' * (len(found) > 1)} {seeds}: the training loss rose to {factors} times its "
            "start. The learning rate is too high for this row, and its score says little of its backbone. "
            f"{remedy}"
        )


def _rise(losses: Sequence[float]) -> float:
    """The largest mean over a tenth of the points that follow one another, over that of the first tenth."""
    width = len(losses) // 10
    if width == 0:
        return 0.0
    means = [sum(losses[at : at + width]) / width for at in range(len(losses) - width + 1)]
    return max(means) / means[0] if means[0] > 0 else 0.0


def _teacher_warnings(run: Run) -> Iterator[str]:
    """Find teachers that know less than those whom they taught."""
    for row in run.rows:
        if row.teacher is None:
            continue
        teacher = list(metric_values(run.of(row.teacher, "cls"), "top1").values())
        pupils = metric_values(run.of(row.name, "cls"), "top1").values()
        if teacher and pupils and teacher[0] < (mean := sum(pupils) / len(pupils)):
            yield (
                f"{row.name} ({mean:.1f} top-1) was distilled from {row.teacher}, which is worse ({teacher[0]:.1f}): "
                "this does not show what distillation does. Train the teacher longer, or name another."
            )


def _mixture_warnings(results: Iterable[Result], intended: Mapping[str, str]) -> Iterator[str]:
    """Find protocols, image counts, devices and code versions that differ within one column.

    What a suite says to differ on purpose, and why, is a note below the table instead.
    """
    results = list(results)
    for stage in STAGES:
        own = [result for result in results if result.stage == stage]
        for key in dict.fromkeys(key for result in own for key in result.protocol):
            values = list(dict.fromkeys(str(result.protocol.get(key)) for result in own))
            if len(values) > 1 and key not in TRAINING_KEYS and "protocol" not in intended:
                yield (
                    f"The {stage} column mixes protocols, so its numbers are not comparable: "
                    f"{key} {' | '.join(values)}."
                )
        if len({r.data.fingerprint for r in own if r.data.fingerprint}) > 1:
            yield f"The {stage} column mixes data sets."
        if len({(r.data.test_images_used, r.data.test_images_total) for r in own}) > 1:
            yield f"The {stage} column mixes test sets of different sizes."
        totals = {r.data.train_images_total for r in own}
        used = {r.data.train_images_used for r in own}
        # On how many of them a row is trained is a protocol, that of few-shot transfer.
        if len(totals) > 1 or (len(used) > 1 and "protocol" not in intended):
            yield f"The {stage} column mixes training sets of different sizes."
        if len({(result.device_type, result.device_name) for result in own}) > 1:
            yield f"The {stage} column mixes devices."
        if len({result.dtype for result in own}) > 1 and "precision" not in intended:
            yield f"The {stage} column mixes precisions."
    if len({result.git_sha for result in results}) > 1:
        yield "The cells were made by more than one commit."
    if any(result.dirty for result in results):
        yield "Some cells were made by code with uncommitted changes; the commit does not pin them."


def _image_warnings(results: Iterable[Result]) -> Iterator[str]:
    """Find stages that were tested on a part of their test set."""
    partial = {
        (r.stage, r.data.test_images_used, r.data.test_images_total)
        for r in results
        if r.data.test_images_used < r.data.test_images_total
    }
    for stage, used, total in sorted(partial):
        yield f"{stage} was tested on {used} of {total} images; such a number is not the set's."


def cost_warnings(run: Run) -> Iterator[str]:
    """Find costs that were measured under different circumstances; each stage has its own."""
    for stage in STAGES:
        own = [r for row in run.rows for c in run.of(row.name, stage) if (r := c.result)]
        sizes = _unique(r.inference["input"] for r in own if r.inference.get("input"))
        if len(sizes) > 1:
            yield (
                f"Costs of {stage} were measured on inputs of different sizes ({' | '.join(sizes)}): "
                "neither times nor multiply-adds compare."
            )
        devices = _unique(f"{r.device_count} × {r.device_name}" for r in own)
        if len(devices) > 1:
            yield (
                f"Costs of {stage} were measured on different devices or numbers of threads "
                f"({' | '.join(devices)}): times and memory do not compare."
            )


def _unique(texts: Iterable[str]) -> list[str]:
    """Return the distinct texts in order of appearance."""
    return list(dict.fromkeys(texts))
