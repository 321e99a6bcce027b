"""Measured schedules and steps of runs, in a file of the cache.

A schedule ("facts") follows from config, tricks and data; the figures of steps ("trial") also from the hardware. Both
belong to a version of the task's code. After a change of the code, the older ones still give a guess.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.plan import identity
from benchmarks.plan.hardware import Hardware
from benchmarks.plan.plan import Plan, PlannedRun
from contract.files import read_json, write_json
from contract.settings import package_versions

COSTS_FILE = "costs.json"
# Stands for the fingerprint of data that are replaced by generated ones.
GENERATED = "generated"


@dataclass(frozen=True)
class _Key:
    """The key of an entry.

    Attributes:
        exact: Digest of everything that decides it.
        loose: Digest without the code and the packages.
    """

    exact: str
    loose: str


@dataclass(frozen=True)
class Found:
    """An entry of the cache.

    Attributes:
        values: What was measured.
        current: Whether code and packages are those of now.
    """

    values: Mapping[str, Any]
    current: bool


@dataclass
class Measurements:
    """The cache of a plan's measurements on one hardware.

    Args:
        plan: The plan.
        hardware: The hardware.
        path: The file; it need not exist.
    """

    plan: Plan
    hardware: Hardware
    path: Path
    _entries: dict[str, dict[str, Any]] = field(init=False)
    _loose: dict[str, dict[str, Any]] = field(init=False)
    _versions: dict[tuple[str, str], Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        stored = read_json(self.path) or {}
        self._entries = {
            key: entry
            for key, entry in stored.items()
            if isinstance(entry, dict) and {"loose", "values"} <= entry.keys()
        }
        # The latest entry of a loose key is the last one.
        self._loose = {entry["loose"]: entry for entry in self._entries.values()}

    def facts(self, run: PlannedRun) -> Found | None:
        """Return the schedule of a run; None if it is unknown."""
        return self._find(self._facts_key(run))

    def trial(self, run: PlannedRun) -> Found | None:
        """Return the figures of a run's steps; None if they, or its schedule, are unknown."""
        facts = self.facts(run)
        if facts is None:
            return None
        found = self._find(self._trial_key(run, facts.values))
        return found if found is None or facts.current else Found(found.values, False)

    def trial_name(self, run: PlannedRun) -> str:
        """Return the key that runs share whose steps cost the same; the schedule must be known."""
        facts = self.facts(run)
        assert facts is not None
        return self._trial_key(run, facts.values).exact

    def keep_facts(self, run: PlannedRun, facts: Mapping[str, Any]) -> None:
        """Store the schedule of a run."""
        self._keep(self._facts_key(run), facts)

    def keep_trial(self, run: PlannedRun, trial: Mapping[str, Any]) -> None:
        """Store the figures of a run's steps."""
        facts = self.facts(run)
        assert facts is not None
        self._keep(self._trial_key(run, facts.values), trial)

    def _find(self, key: _Key) -> Found | None:
        if key.exact in self._entries:
            return Found(self._entries[key.exact]["values"], True)
        entry = self._loose.get(key.loose)
        return None if entry is None else Found(entry["values"], False)

    def _keep(self, key: _Key, values: Mapping[str, Any]) -> None:
        # Another command may have stored something meanwhile.
        self._entries |= read_json(self.path) or {}
        entry = {"loose": key.loose, "hardware": str(self.hardware), "values": dict(values)}
        self._entries.pop(key.exact, None)
        self._entries[key.exact] = self._loose[key.loose] = entry
        write_json(self.path, self._entries)

    def _facts_key(self, run: PlannedRun) -> _Key:
        plan, setup, task = self.plan, run.setup, run.key.task
        recipe = run.row.of(task).recipe
        limit = plan.limits.of(run.row.name, task)
        return self._key(
            run,
            [
                "facts",
                dict(identity.config_chain(plan.root / setup.config, plan.root)),
                identity.recipe_components(task, recipe, run.tricks, plan.root),
                list(run.tricks),
                identity.overrides(setup.overrides),
                plan.selection.budget,
                plan.compute.dtype(plan.precision(run)),
                plan.compute.device,
                None if limit is None else limit.images,
            ],
        )

    def _trial_key(self, run: PlannedRun, facts: Mapping[str, Any]) -> _Key:
        return self._key(run, ["trial", self.hardware.key, facts["signature"]])

    def _key(self, run: PlannedRun, parts: list[Any]) -> _Key:
        loose = _digest([run.key.task, run.row.backbone, run.data.fingerprint or GENERATED, *parts])
        return _Key(_digest([loose, self._version(run.key.task, run.row.backbone)]), loose)

    def _version(self, task: str, backbone: str) -> Any:
        """Return the code and packages that a run's cost depends on."""
        if (task, backbone) not in self._versions:
            code = {**identity.task_code(task, self.plan.root), **identity.own_code(backbone)}
            self._versions[task, backbone] = [code, dict(package_versions())]
        return self._versions[task, backbone]


def _digest(parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
