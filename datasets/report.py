"""The report of a dataset check."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from contract.errors import UserError
from datasets.images import REPAIRS
from datasets.kinds import Kind

Severity = Literal["error", "repaired", "noted"]


@dataclass(frozen=True)
class Problem:
    """A problem of one file.

    Attributes:
        path: The file.
        message: What was found, what was expected and, for an error, how to fix it.
        severity: `"error"` stops a run. `"repaired"` is repaired every time the file is read. `"noted"` changes
            nothing, but is relevant to a reader of the results.
    """

    path: Path
    message: str
    severity: Severity = "error"


@dataclass
class Findings:
    """The result of checking one image and its annotation.

    Attributes:
        objects: Number of objects, or of different labels.
        repairs: The entries of `datasets.images.REPAIRS` that decoding needs.
        problems: The problems found.
    """

    objects: int = 0
    repairs: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: Path, message: str, severity: Severity = "error") -> None:
        """Add a problem."""
        self.problems.append(Problem(path, message, severity))


@dataclass(frozen=True)
class VerifyReport:
    """The outcome of `verify`.

    Attributes:
        kind: The layout.
        root: The folder as the user named it.
        counts: Counts by name; at least `images`, `objects` and `classes`.
        problems: In the order of the files.
    """

    kind: Kind
    root: Path
    counts: dict[str, int]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop a run."""
        return self._of("error")

    @property
    def repaired(self) -> tuple[Problem, ...]:
        """The problems that are repaired while loading."""
        return self._of("repaired")

    @property
    def noted(self) -> tuple[Problem, ...]:
        """The problems that are only noted."""
        return self._of("noted")

    def _of(self, severity: Severity) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == severity)

    def summary(self) -> str:
        """Return one line with the counts; repairs with a count of 0 are left out."""
        counts = ", ".join(
            f"{value} {name.replace('_', ' ')}"
            for name, value in self.counts.items()
            if value or name not in REPAIRS
        )
        return (
            f"{self.root} ({self.kind}): {counts}; "
            f"{len(self.errors)} errors, {len(self.repaired)} repaired while loading, "
            f"{len(self.noted)} noted"
        )

    def raise_for_errors(self, shown: int = 5) -> None:
        """Raise if the report has errors.

        Args:
            shown: How many problems the message names.

        Raises:
            UserError: The data have errors. The message has the counts, the first errors and what to do.
        """
        if not self.errors:
            return
        lines = [self.summary()]
        lines += [f"  {problem.path}: {problem.message}" for problem in self.errors[:shown]]
        rest = len(self.errors) - shown
        if rest > 0:
            lines.append(f"  … and {rest} more")
        lines.append("Fix or remove the files named here, then run again; nothing was trained.")
        raise UserError("\n".join(lines))

    def to_json(self) -> dict[str, Any]:
        """Return plain data. Paths are relative to `root`, so the report stays valid if the dataset is moved."""
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
        """Rebuild a report from the data of `to_json`, for the same dataset under `root`."""
        problems = tuple(
            Problem(root / path, message, severity) for path, message, severity in data["problems"]
        )
        return cls(data["kind"], root, dict(data["counts"]), problems)
