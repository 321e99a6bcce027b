"""The text around a table: notes, protocol and environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.plan.document import RowEntry
from benchmarks.results.read import COMPLETED, RunFolder, metric_values
from contract.result import Result
from contract.settings import PACKAGES
from contract.tasks import SOURCE, TASKS

_MOST_NAMED = 4


def row_notes(run: RunFolder) -> Iterable[str]:
    """Yield the notes on rows, one sentence each."""
    for difference, reason in run.plan.intended.items():
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
    for record in run.runs:
        if record.state != COMPLETED:
            reason = (record.message.strip().splitlines() or ["no message"])[0]
            key = (record.row, record.task, record.state, reason)
            troubles.setdefault(key, []).append(record.seed)
    for (row, task, state, reason), seeds in troubles.items():
        listed = ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))
        yield f"{row} · {task} · {listed}: {state} ({reason})"


def _partial_weights(run: RunFolder, row: RowEntry) -> Iterable[str]:
    """Yield a note on random tensors in a row's weights, if an import allowed missing tensors."""
    for record in (record for task in TASKS for record in run.of(row.name, task)):
        report = None if record.result is None else record.result.load_report
        names = [] if report is None else report.source.get("random")
        if names:
            more = ", …" if len(names) > _MOST_NAMED else ""
            yield (
                f"{row.name}: {len(names)} tensors of its backbone started from random numbers, since its weights do "
                f"not have them and --allow-missing permitted it: {', '.join(names[:_MOST_NAMED])}{more}"
            )
            return


def _describe_teacher(run: RunFolder, teacher: RowEntry) -> str:
    """Describe a teacher, its score and its students."""
    main = TASKS[SOURCE].main
    students = ", ".join(row.name for row in run.rows if row.teacher == teacher.name)
    made_of = ", ".join([teacher.backbone, teacher.recipe or "", *teacher.tricks])
    scores = metric_values(run.of(teacher.name, SOURCE), main.name)
    score = ", ".join(
        f"{main.label} {value:.2f} with seed {seed}" for seed, value in scores.items()
    )
    return f"teacher {teacher.name} of {students}: {made_of}; trained once, {score or 'not yet'}"


def describe_protocol(result: Result) -> str:
    """Describe the protocol of a result in one line."""
    return "; ".join(_value_text(key, str(value)) for key, value in result.protocol.items())


def protocol_lines(run: RunFolder) -> Iterable[tuple[str, str]]:
    """Yield the protocol of each task and its number of test images."""
    for task in TASKS.values():
        made = [
            (record.row, record.result)
            for record in run.runs
            if record.task == task.name and record.result
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
        yield task.label, "; ".join([*parts, images])


def _value_text(key: str, value: str) -> str:
    """Format an entry of a protocol; the two entries that every task has are not named."""
    return value if key in ("metric", "test") else f"{key} {value}"


def _by_rows(values: Iterable[tuple[str, object]]) -> str:
    """Format a value that is equal for all rows once, and other values with their rows, without None."""
    rows: dict[object, list[str]] = {}
    for row, value in values:
        rows.setdefault(value, []).append(row)
    if len(rows) == 1:
        return str(next(iter(rows)))
    rows.pop(None, None)
    return " | ".join(f"{value} ({', '.join(_unique(names))})" for value, names in rows.items())


def environment_lines(results: Iterable[Result]) -> Iterable[tuple[str, str]]:
    """Yield the environment of the runs; different values are joined."""
    results = list(results)
    if not results:
        return
    yield "code", " | ".join(_unique(map(describe_code, results)))
    yield "device", " | ".join(_unique(f"{r.device.count} × {r.device.name}" for r in results))
    data = (f"{r.task} {r.data.fingerprint[:12]}" for r in results if r.data.fingerprint)
    if digests := _unique(data):
        yield "data (sha256)", " | ".join(digests)
    yield (
        "precision",
        " | ".join(_unique(f"{r.precision.dtype} ({r.precision.reason})" for r in results)),
    )
    if numerics := _unique(filter(None, map(_numerics, results))):
        yield "numerics", " | ".join(numerics)
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


def _numerics(result: Result) -> str:
    """Describe the deterministic algorithms of a run; empty for a run without `--deterministic`."""
    used = result.numerics
    if used is None or not used.deterministic:
        return ""
    without = ", ".join(used.nondeterministic)
    return f"{result.task} with deterministic algorithms{without and f', except {without}'}"


def describe_code(result: Result) -> str:
    """Describe the commit of a result, and whether there were uncommitted changes."""
    code = result.code
    if code.git_sha is None:
        return "unknown commit"
    return code.git_sha[:12] + (" with uncommitted changes" if code.dirty else "")


def _ordered(packages: Mapping[str, str]) -> list[tuple[str, str]]:
    """Sort packages in the order of the settings, then by name."""
    places = {name: place for place, name in enumerate(PACKAGES)}
    return sorted(packages.items(), key=lambda item: (places.get(item[0], len(places)), item[0]))


def _unique(texts: Iterable[str]) -> list[str]:
    """Return the distinct texts in order of appearance."""
    return list(dict.fromkeys(texts))
