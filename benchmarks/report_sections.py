"""The sections of the HTML report; each function returns one, with all text escaped."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from html import escape

from benchmarks.columns import MetricColumn
from benchmarks.figures import (
    TRANSFER_TARGETS,
    draw_curves,
    draw_intervals,
    draw_transfer,
    row_styles,
)
from benchmarks.findings import find_findings
from benchmarks.latex import format_bibtex
from benchmarks.pictures import Strip, read_strips
from benchmarks.results import Cell, Run
from benchmarks.table import Table, TableRow
from benchmarks.table_notes import STAGE_LABELS
from benchmarks.table_text import headings

VERDICTS = {"shown": "shown", "open": "cannot tell", "note": "note"}
PAPER = '<a href="https://arxiv.org/abs/1812.01187">He et al., Bag of Tricks (CVPR 2019)</a>'


def section(title: str, body: str) -> str:
    """Wrap a section; an empty one disappears."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>" if body else ""


def plain_table(titles: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Lay out a table of cells that are HTML already; the first `left` columns are left-aligned."""

    def line(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="left">{cell}</{tag}>' if index < left else f"<{tag}>{cell}</{tag}>"
            for index, cell in enumerate(cells)
        )

    body = "\n".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    head = line("th", [escape(title) for title in titles])
    return (
        f'<div class="scroll"><table class="fine">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def bullets(texts: Iterable[str]) -> str:
    """Lay out sentences as a list; nothing where there are none."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="notes">{items}</ul>' if items else ""


def swatch(run: Run, row: str) -> str:
    """Return the marker of a row in its colour."""
    style = row_styles(run.rows)[row]
    return f'<span class="swatch" style="color:{style.css}" aria-hidden="true">{style.glyph}</span>'


def table_section(run: Run, table: Table) -> str:
    """The table itself, how to read it, and the reasons for what is not in it."""
    titles = headings(table)[: -len(table.references) or None]  # those stand below our own figures
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    body = "\n".join(_table_row(run, table, row) for row in table.rows)
    layout = (
        f'<div class="scroll"><table class="main">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
    published = " Below our figures: those that the paper reports." if table.references else ""
    legend = f'<p class="quiet">{escape(table.legend + published)}</p>'
    return section("Results", layout + legend + bullets(table.notes))


def _table_row(run: Run, table: Table, row: TableRow) -> str:
    """One row: its name with what it is made of, its metrics, and the published figures."""
    tag = f'<span class="tag">{escape(row.mark)}</span>' if row.mark else ""
    made_of = [row.row.backbone, *([row.row.recipe] if row.row.recipe else []), *row.row.tricks]
    if not row.row.pretrain:
        made_of = [row.row.backbone, "no pretraining"]
    name = f"{swatch(run, row.row.name)}{escape(row.row.name)}{tag}"
    made = "<br>".join([_wrapped(made_of), *map(escape, row.row.departures)])
    cells = [f'<td>{name}<span class="sub">{made}</span></td>']
    cells += [_metric_cell(row, column) for column in table.columns]
    cells.append(f'<td data-label="backbone (M)">{row.parameters_text}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _wrapped(parts: Sequence[str]) -> str:
    """Join the parts of a row, three on a line, so that a long recipe does not widen the table."""
    lines = [" · ".join(parts[start : start + 3]) for start in range(0, len(parts), 3)]
    return "<br>".join(escape(line) for line in lines)


def _metric_cell(row: TableRow, column: MetricColumn) -> str:
    """One metric of one row, with the published figure below it."""
    cell = row.cells[column.name]
    classes = f"{cell.status} best" if cell.best else cell.status
    half = f' <span class="half">± {cell.interval}</span>' if cell.interval else ""
    short = f'<span class="short">{cell.shortfall}</span>' if cell.shortfall else ""
    paper = ""
    if column.name in row.row.reference:
        paper = f'<span class="sub">paper {row.reference_text(column.name)}</span>'
    mean = f'<span class="mean">{escape(cell.mean)}</span>'
    label = escape(column.heading)
    return f'<td class="{classes}" data-label="{label}"><div>{mean}{half}{short}{paper}</div></td>'


def findings_section(run: Run, table: Table) -> str:
    """What the numbers show, and what they leave open."""
    items = "".join(
        f'<li><span class="verdict {finding.kind}">{VERDICTS[finding.kind]}</span>'
        f"<span>{escape(finding.text)}</span></li>"
        for finding in find_findings(run, table)
    )
    return section("Findings", f'<ul class="findings">{items}</ul>' if items else "")


def row_key(run: Run) -> str:
    """The key to colours and markers, once for all figures of a section."""
    items = "".join(
        f"<li>{swatch(run, row.name)}{escape(row.name)}</li>"
        for row in run.rows
        if any(cell.result for cell in run.cells if cell.row == row.name)
    )
    return f'<ul class="key">{items}</ul>'


def panels(figures: Iterable[tuple[str, str, str | None]]) -> str:
    """Lay out figures with a bold title and a caption; those that are None are left out."""
    items = "".join(
        f"<figure><figcaption><b>{escape(title)}</b> {escape(caption)}</figcaption>{svg}</figure>"
        for title, caption, svg in figures
        if svg
    )
    return f'<div class="panels">{items}</div>' if items else ""


def transfer_section(run: Run, table: Table) -> str:
    """Top-1 against the dense metrics, and every metric by itself."""
    spread = "mean with 95% interval; faint: single seeds" if len(run.seeds) > 1 else "one seed"
    scatter = panels(
        (
            f"top-1 against {target.label}",
            spread + _left_out(table, target),
            draw_transfer(run, table, target),
        )
        for target in TRANSFER_TARGETS
        if {"top1", target.name} <= {column.name for column in table.columns}
    )
    dots = panels(
        (column.label, spread, draw_intervals(run, table, column)) for column in table.columns
    )
    alone = "Each metric by itself"
    if not scatter:
        return section(alone, row_key(run) + dots if dots else "")
    dots = f"<h3>{alone}</h3>{dots}" if dots else ""
    return section("Does top-1 carry over?", row_key(run) + scatter + dots)


def _left_out(table: Table, target: MetricColumn) -> str:
    """Name the rows that a scatter plot cannot show."""
    rows = [
        row.row.name
        for row in table.rows
        if row.cells["top1"].status != "absent"
        and not (row.cells["top1"].aggregate and row.cells[target.name].aggregate)
    ]
    return f"; not shown for want of a number: {', '.join(rows)}" if rows else ""


def curves_section(run: Run) -> str:
    """Learning curves of every stage."""
    spread = "mean over seeds; thin: single seeds" if len(run.seeds) > 1 else "one seed"
    parts = []
    for stage, label in STAGE_LABELS.items():
        curves = panels(
            (title, spread, draw_curves(run, stage, quantity))
            for title, quantity in (("Training loss", "loss"), ("Validation", "metric"))
        )
        parts += [f"<h3>{label.capitalize()}</h3>{curves}"] if curves else []
    return section("Learning curves", row_key(run) + "".join(parts) if parts else "")


def pictures_section(run: Run) -> str:
    """Predictions beside the truth, a strip a row; the same column is the same test image."""
    parts = []
    for stage, title in (("det", "Detections"), ("seg", "Label maps")):
        strips = read_strips(run, stage)
        if any(strip.pictures for strip in strips):
            parts.append(f"<h3>{title}</h3>" + "".join(_strip(run, stage, s) for s in strips))
    intro = '<p class="quiet">In each picture the prediction stands beside the ground truth.</p>'
    return section("Pictures", intro + "".join(parts) if parts else "")


def _strip(run: Run, stage: str, strip: Strip) -> str:
    """One row's pictures, or the reason why there are none."""
    name = f"{swatch(run, strip.row)}{escape(strip.row)}"
    if not strip.pictures:
        return f'<p class="strip-name">{name} <span class="quiet">{escape(strip.reason)}</span></p>'
    images = "".join(
        f'<img src="{uri}" loading="lazy" '
        f'alt="{escape(f"{strip.row}, {STAGE_LABELS[stage]}: prediction beside truth, {file}")}">'
        for file, uri in strip.pictures
    )
    heading = f'{name} <span class="quiet">seed {strip.seed}</span>'
    return f'<p class="strip-name">{heading}</p><div class="strip">{images}</div>'


def receipts_section(run: Run) -> str:
    """Proof that the later stages started from the classifier's weights."""
    rows = []
    for cell in run.cells:
        if cell.stage == "cls" or cell.result is None:
            continue
        receipt = cell.result.checkpoint
        place = [escape(cell.row), cell.stage, str(cell.seed)]
        if receipt is None:
            rows.append([*place, "random weights", "", "", ""])
            continue
        whole = receipt.matched == receipt.total
        matched = f"{receipt.matched} / {receipt.total}"
        top1 = receipt.source.get("top1")
        rows.append(
            [
                *place,
                f'<code title="{escape(receipt.sha256)}">{escape(receipt.sha256[:16])}</code>',
                matched if whole else f'<span class="failed">{matched}</span>',
                "" if receipt.feature_error is None else f"{receipt.feature_error:.0e}",
                f"{top1:.2f}" if isinstance(top1, int | float) else "",
            ]
        )
    if not rows:
        return ""
    intro = (
        '<p class="quiet">Backbone tensors of the built model that equal the checkpoint file, '
        "compared after building; and how far its features on a fixed image are from those of the network that wrote "
        "the file, relative to the largest of a map. All stages of a row and seed load the same "
        "file.</p>"
    )
    titles = (
        *("row", "stage", "seed", "checkpoint sha256"),
        *("tensors equal", "feature error", "its top-1"),
    )
    return section("Transfer receipts", intro + plain_table(titles, rows, left=4))


def failures_section(run: Run) -> str:
    """Each cell without a result, with its message and the end of its log."""
    parts = []
    for cell in run.cells:
        if cell.state == "completed":
            continue
        title = f"{cell.row} · {cell.stage} · seed {cell.seed}"
        first, *rest = cell.message.strip().splitlines() or ["no message"]
        summary = (
            f'<summary><span class="{cell.state}">{cell.state}</span> {escape(title)}: '
            f"{escape(first)}</summary>"
        )
        log = "\n".join([*rest, *cell.log_tail])
        body = f"<pre>{escape(log)}</pre>" if log else ""
        parts.append(f"<details>{summary}{body}{_command(cell)}</details>")
    return section("Cells without a result", "".join(parts))


def _command(cell: Cell) -> str:
    """The command line of a cell, to be copied into a shell."""
    if not cell.command:
        return ""
    line = cell.command[0] if len(cell.command) == 1 else shlex.join(cell.command)
    return f"<pre>{escape(line)}</pre>"


def protocol_section(table: Table) -> str:
    """How each stage was measured."""
    items = "".join(
        f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in table.protocol
    )
    return section("Protocol", f"<dl>{items}</dl>" if items else "")


def provenance_section(run: Run, table: Table) -> str:
    """What made the numbers: code, packages, device, and each cell's cost and command."""
    items = "".join(
        f"<dt>{escape(what)}</dt><dd>{escape(value)}</dd>" for what, value in table.environment
    )
    rows = [
        [
            escape(cell.row),
            cell.stage,
            str(cell.seed),
            escape(cell.result.dtype),
            f"{cell.result.wall_seconds:.0f} s",
            _optional(cell.result.train_images_per_second, "{:.1f}"),
            _optional(cell.result.peak_memory_mib, "{:.0f} MiB"),
        ]
        for cell in run.cells
        if cell.result is not None
    ]
    titles = ("row", "stage", "seed", "precision", "wall time", "train images/s", "peak memory")
    costs = plain_table(titles, rows, left=2) if rows else ""
    commands = "".join(_command(cell) for cell in run.cells if cell.result is not None)
    if commands:
        commands = f"<details><summary>Command lines</summary>{commands}</details>"
    notes = dict.fromkeys(note for result in run.results for note in result.data.notes)
    body = (f"<dl>{items}</dl>" if items else "") + costs + bullets(notes) + commands
    return section("Provenance", body)


def _optional(value: float | None, form: str) -> str:
    """Format a number that a stage may not have measured."""
    return "not measured" if value is None else form.format(value)


def citation_section(run: Run) -> str:
    """How to cite the paper and this run."""
    return section(
        "How to cite",
        f"<p>The tricks and the transfer protocol are those of {PAPER}.</p>"
        f"<pre>{escape(format_bibtex(run))}</pre>",
    )
