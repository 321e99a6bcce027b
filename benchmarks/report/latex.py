"""The table as a LaTeX float (booktabs), and how to cite it as BibTeX."""

from __future__ import annotations

from benchmarks.report.build import Report
from benchmarks.report.table import Table, TableCell
from benchmarks.results.columns import MetricColumn
from benchmarks.results.read import RunFolder

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}",
    "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "−": r"$-$", "–": "--", "—": "---",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "†": r"$\dagger$", "≥": r"$\geq$", "≤": r"$\leq$",
    "…": r"\ldots{}", "Δ": r"$\Delta$",
    "α": r"$\alpha$", "`": "'", "’": "'", "“": "``", "”": "''",
}  # fmt: skip
PAPER_BIBTEX = """@inproceedings{he2019bag,
  title     = {Bag of Tricks for Image Classification with Convolutional Neural Networks},
  author    = {He, Tong and Zhang, Zhi and Zhang, Hang and Zhang, Zhongyue and Xie, Junyuan
               and Li, Mu},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  pages     = {558--567},
  year      = {2019},
  eprint    = {1812.01187},
  archiveprefix = {arXiv}
}"""


def escape_latex(text: str) -> str:
    """Escape free text for LaTeX, on one line.

    Args:
        text: Any text.

    Returns:
        The text with escaped special characters and collapsed white space.
    """
    return "".join(SPECIAL.get(sign, sign) for sign in " ".join(text.split()))


def format_bibtex(run: RunFolder) -> str:
    """Return the BibTeX entries of the paper and of this run.

    Args:
        run: A run folder as read.

    Returns:
        Two entries; the second pins the run by suite, commit and seeds.
    """
    commits = list(dict.fromkeys(result.code.git_sha or "unknown" for result in run.results)) or [
        "none"
    ]
    dirty = " with uncommitted changes" if any(result.code.dirty for result in run.results) else ""
    key = "".join(
        sign for sign in f"trickbench-{run.plan.suite}-{commits[0][:7]}" if sign not in ", {}%"
    )
    seeds = ", ".join(map(str, run.seeds))
    budget = "" if run.budget == "full" else f", {run.budget} budget"
    note = f"Suite {escape_latex(run.plan.suite)}, commit {' '.join(commits)}{dirty}, seeds {seeds}{budget}"
    own = f"""@misc{{{key},
  title = {{TrickBench: {escape_latex(run.plan.title)}}},
  howpublished = {{Software and results}},
  note  = {{{note}}}
}}"""
    return f"{PAPER_BIBTEX}\n\n{own}\n"


def format_latex(report: Report) -> str:
    r"""Write the table as a `table` float that needs only `\usepackage{booktabs}`.

    Args:
        report: The report of a run.

    Returns:
        The text, for use with `\input`.
    """
    run, table = report.run, report.table
    comment = "% Needs \\usepackage{booktabs}. How to cite:\n"
    comment += "".join(f"% {line}".rstrip() + "\n" for line in format_bibtex(run).splitlines())
    groups, titles = _headings(table)
    float_name = "table*" if table.references else "table"  # nine columns need both of a page
    body = [
        " & ".join(
            [
                escape_latex(row.label),
                *(_latex_cell(row.cells[column.name]) for column in table.columns),
                escape_latex(row.parameters_text),
                *(escape_latex(row.reference_text(column.name)) for column in table.references),
            ]
        )
        + r" \\"
        for row in table.rows
    ]
    lines = [
        rf"\begin{{{float_name}}}[t]",
        # Smaller type and narrower gaps make room for the published columns.
        r"  \centering\footnotesize\setlength{\tabcolsep}{3pt}"
        if table.references
        else r"  \centering\small",
        rf"  \caption{{{_caption(table)}}}",
        rf"  \label{{tab:trickbench-{''.join(s for s in run.plan.suite if s.isalnum() or s == '-')}}}",
        rf"  \begin{{tabular}}{{l{'r' * (len(table.columns) + 1 + len(table.references))}}}",
        r"    \toprule",
        *groups,
        f"    {titles}",
        r"    \midrule",
        *(f"    {line}" for line in body),
        r"    \bottomrule",
        r"  \end{tabular}",
        rf"\end{{{float_name}}}",
    ]
    return comment + "\n".join(lines) + "\n"


def _headings(table: Table) -> tuple[list[str], str]:
    """Return the lines that group the published columns, if there are any, and the titles."""
    titles = ["row", *(_title(column) for column in table.columns), "M"]
    titles += [escape_latex(column.label) for column in table.references]
    line = " & ".join(titles) + r" \\"
    if not table.references:
        return [], line
    first, last = len(table.columns) + 3, len(titles)
    group = rf"    {'& ' * (first - 1)}\multicolumn{{{last - first + 1}}}{{c}}{{published}} \\"
    return [group, rf"    \cmidrule(l){{{first}-{last}}}"], line


def _title(column: MetricColumn) -> str:
    unit = "" if column.unit == "%" else f" ({column.unit})"
    arrow = {None: "", True: r" $\uparrow$", False: r" $\downarrow$"}[column.higher_is_better]
    mark = r"$^\dagger$" if column.varies else ""
    return escape_latex(column.label + unit) + arrow + mark


def _latex_cell(cell: TableCell) -> str:
    """Format a cell; the best mean is bold."""
    mean = escape_latex(cell.mean.replace("-", "−") if cell.aggregate else cell.mean)
    parts = [rf"\textbf{{{mean}}}" if cell.best else mean]
    if cell.interval:
        parts.append(rf"{{\scriptsize$\pm${cell.interval}}}")
    if cell.shortfall:
        parts.append(rf"{{\scriptsize({escape_latex(cell.shortfall.replace(' of ', '/'))})}}")
    return " ".join(parts)


def _caption(table: Table) -> str:
    """Return the caption: title, banner, protocol, legend, and reasons for missing numbers."""
    sentences = [f"{table.title}."]
    sentences += [table.banner] if table.banner else []
    sentences += [f"{task.capitalize()}: {text}." for task, text in table.protocol]
    sentences += [table.legend, "M: millions of backbone parameters."]
    sentences += [note if note.endswith(".") else f"{note}." for note in table.notes]
    return escape_latex(" ".join(sentences))
