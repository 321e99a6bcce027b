"""What stands around a table: notes, protocol, environment, each from a run's files alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.results import Result, Row, Run, metric_values

STAGE_LABELS = {
    "cls": "classification",
    "probe": "probe",
    "det": "detection",
    "seg": "segmentation",
}
KNOWN_PACKAGES = ("torch", "torchvision", "timm", "mmengine", "mmcv", "mmcv-lite", "mmdet")

_MOST_NAMED = 4


def row_notes(run: Run) -> Iterable[str]:
    """Yield one sentence for each thing that a reader of the table has to know about a row."""
    for difference, reason in run.intended.items():
        yield f"rows differ in {difference} on purpose: {reason}"
    for teacher in run.teachers:
        yield _describe_teacher(run, teacher)
    for row in run.rows:
        if row.unavailable:
            yield f"{row.name} is unavailable: {row.unavailable}"
        if row.note:
            yield f"{row.name}: {row.note}"
        yield from _partial_weights(run, row)
    troubles: dict[tuple[str, str, str, str], list[int]] = {}
    for cell in run.cells:
        if cell.state != "completed":
            reason = (cell.message.strip().splitlines() or ["no message"])[0]
            troubles.setdefault((cell.row, cell.stage, cell.state, reason), []).append(cell.seed)
    for (row, stage, state, reason), seeds in troubles.items():
        listed = ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))
        yield f"{row} · {stage} · {listed}: {state} ({reason})"


def _partial_weights(run: Run, row: Row) -> Iterable[str]:
    """Which tensors of a row's weights are a fresh network's, where an import was allowed to leave some out."""
    for stage in ("det", "seg"):
        for cell in run.of(row.name, stage):
            receipt = None if cell.result is None else cell.result.checkpoint
            names = [] if receipt is None else receipt.source.get("random")
            if names:
                more = ", …" if len(names) > _MOST_NAMED else ""
                yield (
                    f"{row.name}: {len(names)} tensors of its backbone started from random numbers, for its weights "
                    f"lacked them and --allow-missing let them: {', '.join(names[:_MOST_NAMED])}{more}"
                )
                return


def _describe_teacher(run: Run, teacher: Row) -> str:
    """What a teacher is, how good it became, and who learns from it."""
    pupils = ", ".join(row.name for row in run.rows if row.teacher == teacher.name)
    made_of = ", ".join([teacher.backbone, teacher.recipe or "", *teacher.tricks])
    top1 = metric_values(run.of(teacher.name, "cls"), "top1")
    score = ", ".join(f"top-1 {value:.2f} with seed {seed}" for seed, value in top1.items())
    return f"teacher {teacher.name} of {pupils}: {made_of}; trained once, {score or 'not yet'}"


def describe_protocol(result: Result) -> str:
    """How the metrics of one result were measured, in one line."""
    return "; ".join(_value_text(key, str(value)) for key, value in result.protocol.items())


def protocol_lines(run: Run) -> Iterable[tuple[str, str]]:
    """Yield how each stage was measured, and on how many images."""
    for stage, label in STAGE_LABELS.items():
        made = [
            (cell.row, cell.result) for cell in run.cells if cell.stage == stage and cell.result
        ]
        if not made:
            continue
        keys = dict.fromkeys(key for _, result in made for key in result.protocol)
        parts = [
            _value_text(key, _by_rows((row, r.protocol.get(key)) for row, r in made))
            for key in keys
        ]
        images = _by_rows(
            (
                row,
                f"{r.data.test_images_used} of {r.data.test_images_total} test images"
                + (" (not all)" if r.data.test_images_used < r.data.test_images_total else ""),
            )
            for row, r in made
        )
        yield label, "; ".join([*parts, images])


def _value_text(key: str, value: str) -> str:
    """Write one entry of a protocol; the two that every stage has speak for themselves."""
    return value if key in ("metric", "test") else f"{key} {value}"


def _by_rows(values: Iterable[tuple[str, object]]) -> str:
    """Write a value that all rows share once, and others, None left out, with their rows."""
    rows: dict[object, list[str]] = {}
    for row, value in values:
        rows.setdefault(value, []).append(row)
    if len(rows) == 1:
        return str(next(iter(rows)))
    rows.pop(None, None)
    return " | ".join(f"{value} ({', '.join(_unique(names))})" for value, names in rows.items())


def environment_lines(results: Iterable[Result]) -> Iterable[tuple[str, str]]:
    """Yield what the numbers were made with; values that differ between cells stand together."""
    results = list(results)
    if not results:
        return
    yield "code", " | ".join(_unique(map(describe_code, results)))
    yield "device", " | ".join(_unique(f"{r.device_count} × {r.device_name}" for r in results))
    data = (f"{r.stage} {r.data.fingerprint[:12]}" for r in results if r.data.fingerprint)
    if told := _unique(data):
        yield "data (sha256)", " | ".join(told)
    yield "precision", " | ".join(_unique(f"{r.dtype} ({r.dtype_reason})" for r in results))
    yield (
        "packages",
        " | ".join(
            _unique(
                ", ".join(
                    [f"python {r.python}"]
                    + [f"{name} {version}" for name, version in _ordered(r.packages)]
                )
                for r in results
            )
        ),
    )


def describe_code(result: Result) -> str:
    """The commit that made a result, and whether the tree had changes."""
    if result.git_sha is None:
        return "unknown commit"
    return result.git_sha[:12] + (" with uncommitted changes" if result.dirty else "")


def _ordered(packages: Mapping[str, str]) -> list[tuple[str, str]]:
    """Order packages by importance, then by name."""
    return sorted(
        packages.items(),
        key=lambda item: (
            KNOWN_PACKAGES.index(item[0]) if item[0] in KNOWN_PACKAGES else len(KNOWN_PACKAGES),
            item[0],
        ),
    )


def _unique(texts: Iterable[str]) -> list[str]:
    """Return the distinct texts in order of appearance."""
    return list(dict.fromkeys(texts))
