"""What a check of a data set found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.datasets.layout import Kind
from contract.errors import UserError

Severity = Literal["error", "mended", "noted"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one file.

    Attributes:
        path: The file.
        message: What was found, what was expected and, for an error, how to mend it.
        severity: `"error"` stops a run. `"mended"` is put right by the loaders each time. `"noted"`
            changes nothing; a reader of the numbers should know it.
    """

    path: Path
    message: str
    severity: Severity = "error"


@dataclass(frozen=True)
class VerifyReport:
    """The outcome of `verify`.

    Attributes:
        kind: The layout.
        root: The folder as the user named it.
        counts: What was counted: at least `images`, `objects` and `classes`.
        problems: In the order of the files.
    """

    kind: Kind
    root: Path
    counts: dict[str, int]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop a run."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def mended(self) -> tuple[Problem, ...]:
        """The problems that are put right while loading."""
        return tuple(problem for problem in self.problems if problem.severity == "mended")

    @property
    def noted(self) -> tuple[Problem, ...]:
        """What stays as it is, and is told."""
        return tuple(problem for problem in self.problems if problem.severity == "noted")

    def summary(self) -> str:
        """Returns one line with the counts."""
        counts = ", ".join(
            f"{value} {name.replace('_', ' ')}" for name, value in self.counts.items()
        )
        return (
            f"{self.root} ({self.kind}): {counts}; "
            f"{len(self.errors)} errors, {len(self.mended)} mended while loading, "
            f"{len(self.noted)} noted"
        )

    def raise_for_errors(self, shown: int = 5) -> None:
        """Passes where nothing stops a run.

        Args:
            shown: How many offenders the message names.

        Raises:
            UserError: The data has errors; with the counts, the first of them and what to do.
        """
        if not self.errors:
            return
        lines = [self.summary()]
        lines += [f"  {problem.path}: {problem.message}" for problem in self.errors[:shown]]
        rest = len(self.errors) - shown
        if rest > 0:
            lines.append(f"  … and {rest} more")
        lines.append("Mend or remove the files named here, then run again; nothing was trained.")
        raise UserError("\n".join(lines))

    def to_json(self) -> dict[str, Any]:
        """Returns plain data, with paths relative to `root`: a moved set keeps its report."""
        return {
            "kind": self.kind,
            "counts": self.counts,
            "problems": [
                [problem.path.relative_to(self.root).as_posix(), problem.message, problem.severity]
                for problem in self.problems
            ],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], root: Path) -> VerifyReport:
        """Rebuilds a report from `to_json`'s data for the same set under `root`."""
        problems = tuple(
            Problem(root / path, message, severity) for path, message, severity in data["problems"]
        )
        return cls(data["kind"], root, dict(data["counts"]), problems)
