"""Check whether the runs of a folder are comparable in one table.

Valid results can still make a wrong table, for example with two protocols in one column, or a pretrained row whose
detector started from random weights. Warnings are shown above the table and hide no numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.results.columns import known_columns
from benchmarks.results.read import RunFolder, metric_values
from contract.result import Result
from contract.tasks import SOURCE, TASKS

# The protocol includes which parts of the backbone were frozen. The control has to train parts that pretrained rows
# freeze, so rows may differ in this, and the protocol line names the rows. Rows may also differ in tricks, including
# averaged weights and the batch.
TRAINING_KEYS = ("backbone", "weights", "tricks", "batch", "images", "layer_decay")
# In 205 successful trainings, the mean loss over a tenth of the training was at most 1.54 times that of the first
# tenth; in diverged ones, 4 to 10 times.
DIVERGED = 2.0


def find_warnings(run: RunFolder) -> tuple[str, ...]:
    """Return a sentence for each reason to question the table.

    Args:
        run: A run folder as read.

    Returns:
        The warnings, worst first; empty if there is none.
    """
    columns = known_columns()
    shows_costs = any(
        name not in columns or columns[name].kind != "score" for name in run.plan.columns
    )
    return (
        *_transfer_warnings(run),
        *_divergence_warnings(run),
        *_teacher_warnings(run),
        *_mixture_warnings(run.results, run.plan.intended),
        *_image_warnings(run.results),
        *(cost_warnings(run) if shows_costs else ()),
    )


def _transfer_warnings(run: RunFolder) -> Iterator[str]:
    """Compare every load report with the pretraining of its row."""
    pretrained = {row.name for row in run.rows if row.pretrain}
    digests: dict[tuple[str, int], set[str]] = {}
    for record in run.runs:
        if record.result is None or record.task == SOURCE:
            continue
        report = record.result.load_report
        if report is None:
            if record.row in pretrained:
                yield f"{record.name} started from random weights, though its row is pretrained."
            continue
        if record.row not in pretrained:
            yield f"{record.name} loaded a checkpoint, though its row trains from scratch."
        if report.matched != report.total:
            yield (
                f"{record.name} loaded {report.matched} of {report.total} tensors of its checkpoint; "
                "the transfer is partial."
            )
        digests.setdefault((record.row, record.seed), set()).add(report.sha256)
    for (row, seed), found in digests.items():
        if len(found) > 1:
            yield f"{row} · seed {seed}: its tasks loaded different checkpoints."


def diverged(run: RunFolder) -> dict[tuple[str, str], dict[int, float]]:
    """Find finished trainings whose loss rose far above its start.

    Returns:
        The ratio of the highest loss to the first, by row and task, then by seed. Empty for a smoke run.
    """
    rises: dict[tuple[str, str], dict[int, float]] = {}
    for record in run.runs:
        if record.result is not None and run.budget != "smoke":
            losses = [loss for _, loss in record.curves.loss]
            if (rise := _rise(losses)) > DIVERGED:
                rises.setdefault((record.row, record.task), {})[record.seed] = rise
    return rises


def _divergence_warnings(run: RunFolder) -> Iterator[str]:
    """Yield warnings on diverged trainings, with a remedy."""
    for (row, task), found in diverged(run).items():
        seeds = ", ".join(map(str, found))
        factors = ", ".join(f"{rise:.1f}" for rise in found.values())
        remedy = (
            f"Try the same rates for every row: python -m benchmarks sweep SUITE --task {task} --factors 0.1 0.3 1."
            if TASKS[task].holds_out
            else f"Lower its rate by `{task}_lr` in the row."
        )
        yield (
            f"{row} · {task} · seed{'s' * (len(found) > 1)} {seeds}: the training loss rose to {factors} times its "
            "start. The learning rate is too high for this row, and its score says little about its backbone. "
            f"{remedy}"
        )


def _rise(losses: Sequence[float]) -> float:
    """Return the largest mean over a tenth of consecutive points, divided by the mean of the first tenth."""
    width = len(losses) // 10
    if width == 0:
        return 0.0
    means = [sum(losses[at : at + width]) / width for at in range(len(losses) - width + 1)]
    return max(means) / means[0] if means[0] > 0 else 0.0


def _teacher_warnings(run: RunFolder) -> Iterator[str]:
    """Find teachers that are worse than their students."""
    main = TASKS[SOURCE].main
    for row in run.rows:
        if row.teacher is None:
            continue
        teacher = list(metric_values(run.of(row.teacher, SOURCE), main.name).values())
        students = metric_values(run.of(row.name, SOURCE), main.name).values()
        if teacher and students and teacher[0] < (mean := sum(students) / len(students)):
            yield (
                f"{row.name} ({mean:.1f} {main.label}) was distilled from {row.teacher}, which is worse "
                f"({teacher[0]:.1f}): this does not show what distillation does. Train the teacher longer, or name "
                "another."
            )


def _mixture_warnings(results: Iterable[Result], intended: Mapping[str, str]) -> Iterator[str]:
    """Find protocols, image counts, devices and code versions that differ within one column.

    Differences that the suite declares as intended become notes below the table instead.
    """
    results = list(results)
    for task in TASKS:
        own = [result for result in results if result.task == task]
        for key in dict.fromkeys(key for result in own for key in result.protocol):
            values = list(dict.fromkeys(str(result.protocol.get(key)) for result in own))
            if len(values) > 1 and key not in TRAINING_KEYS and "protocol" not in intended:
                yield (
                    f"The {task} column mixes protocols, so its numbers are not comparable: "
                    f"{key} {' | '.join(values)}."
                )
        if len({r.data.fingerprint for r in own if r.data.fingerprint}) > 1:
            yield f"The {task} column mixes data sets."
        if len({(r.data.test_images_used, r.data.test_images_total) for r in own}) > 1:
            yield f"The {task} column mixes test sets of different sizes."
        totals = {r.data.train_images_total for r in own}
        used = {r.data.train_images_used for r in own}
        # The number of training images that are used belongs to the protocol (few-shot transfer).
        if len(totals) > 1 or (len(used) > 1 and "protocol" not in intended):
            yield f"The {task} column mixes training sets of different sizes."
        if len({(result.device.type, result.device.name) for result in own}) > 1:
            yield f"The {task} column mixes devices."
        if len({result.precision.dtype for result in own}) > 1 and "precision" not in intended:
            yield f"The {task} column mixes precisions."
    if len({result.code.git_sha for result in results}) > 1:
        yield "The runs were made by more than one commit."
    if any(result.code.dirty for result in results):
        yield "Some runs were made by code with uncommitted changes; the commit does not pin them."


def _image_warnings(results: Iterable[Result]) -> Iterator[str]:
    """Find tasks that were tested on only a part of their test set."""
    partial = {
        (r.task, r.data.test_images_used, r.data.test_images_total)
        for r in results
        if r.data.test_images_used < r.data.test_images_total
    }
    for task, used, total in sorted(partial):
        yield f"{task} was tested on {used} of {total} images; such a number is not the set's."


def cost_warnings(run: RunFolder) -> Iterator[str]:
    """Find costs of a task that were measured under different conditions."""
    for task in TASKS:
        own = [r for row in run.rows for record in run.of(row.name, task) if (r := record.result)]
        sizes = list(dict.fromkeys(r.inference["input"] for r in own if r.inference.get("input")))
        if len(sizes) > 1:
            yield (
                f"Costs of {task} were measured on inputs of different sizes ({' | '.join(sizes)}): "
                "neither times nor multiply-adds compare."
            )
        devices = list(dict.fromkeys(f"{r.device.count} × {r.device.name}" for r in own))
        if len(devices) > 1:
            yield (
                f"Costs of {task} were measured on different devices or numbers of threads "
                f"({' | '.join(devices)}): times and memory do not compare."
            )
