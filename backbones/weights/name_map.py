"""Map a file's tensor names to a backbone's: by name, or by order and shape if the names differ."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor

from backbones.checkpoint.format import CheckpointError, form
from contract.errors import listed_names

# Common names of the layers of classifiers after the last map.
_HEAD = re.compile(r"(fc|head|classifier|last_linear|pre_logits|fc_norm|aux|AuxLogits|head_dist)\b")
# Batch normalisation with a momentum never uses this counter; older programs do not write it.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Expected:
    """The tensors that a backbone expects.

    Attributes:
        spec: The backbone's spec.
        tensors: Its tensors by name, in the order in which the network registers them.
        left_out: Names of tensors of the library's network after the last map.
        order: All these names in the library's order.
        allow_missing: Shell patterns of names that may be missing from a file.
    """

    spec: str
    tensors: Mapping[str, Tensor]
    left_out: Collection[str] = frozenset()
    order: tuple[str, ...] = ()
    allow_missing: tuple[str, ...] = ()

    def may_miss(self, name: str) -> bool:
        """Return whether a tensor may be missing from the file and stay random."""
        return any(fnmatchcase(name, pattern) for pattern in self.allow_missing)


@dataclass(frozen=True)
class Match:
    """How well one key and prefix of a file, or its order, fit a backbone.

    Attributes:
        key: The key of the file's mapping with the tensors; empty for its top level.
        prefix: The prefix of their names.
        tensors: The backbone's tensors that were found with the right shape.
        source_names: The file's names, by the backbone's.
        missing: Missing names that are required.
        random: Missing names that `allow_missing` permits.
        counters: Missing counters of batches.
        misfits: Names with another shape, with both shapes.
        foreign: Names in that mapping that belong neither to the backbone nor to its classifier.
        left: Unused names in that mapping.
    """

    key: str
    prefix: str
    tensors: Mapping[str, Tensor]
    source_names: Mapping[str, str]
    missing: tuple[str, ...] = ()
    random: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    misfits: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    left: tuple[str, ...] = field(default=())

    @property
    def complete(self) -> bool:
        """Whether the backbone is complete and only a classifier is unused."""
        return bool(self.tensors) and not (self.missing or self.misfits or self.foreign)

    @property
    def place(self) -> str:
        """Describe its place in the file."""
        parts = [f"key {self.key!r}"] if self.key else []
        parts += [f"prefix {self.prefix!r}"] if self.prefix else []
        return " and ".join(parts) or "the top of the file"


def by_name(key: str, prefix: str, found: Mapping[str, Tensor], expected: Expected) -> Match:
    """Match the tensors of one mapping by their names after a prefix."""
    own = {n.removeprefix(prefix): t for n, t in found.items() if n.startswith(prefix)}
    fitting = {
        n: own[n] for n, t in expected.tensors.items() if n in own and own[n].shape == t.shape
    }
    absent = [n for n in expected.tensors if n not in own]
    return Match(
        key,
        prefix,
        fitting,
        {n: prefix + n for n in fitting},
        missing=tuple(n for n in absent if not n.endswith(_COUNTER) and not expected.may_miss(n)),
        random=tuple(n for n in absent if not n.endswith(_COUNTER) and expected.may_miss(n)),
        counters=tuple(n for n in absent if n.endswith(_COUNTER)),
        misfits=tuple(
            f"{n} (file {form(own[n])}, backbone {form(t)})"
            for n, t in expected.tensors.items()
            if n in own and own[n].shape != t.shape
        ),
        foreign=tuple(
            n
            for n in own
            if n not in expected.tensors and n not in expected.left_out and not _HEAD.match(n)
        ),
        left=tuple(n for n in found if n.removeprefix(prefix) not in fitting),
    )


def prefixes(found: Iterable[str], expected: Expected) -> list[str]:
    """Return all prefixes of expected names."""
    starts = dict.fromkeys([""])
    for name in found:
        parts = name.split(".")
        for cut in range(1, len(parts)):
            if ".".join(parts[cut:]) in expected.tensors:
                starts[".".join(parts[:cut]) + "."] = None
    return list(starts)


def choose(path: Path, found: list[Match], expected: Expected) -> Match:
    """Return the complete match.

    Raises:
        CheckpointError: No match is complete, or several are, with different weights.
    """
    complete = [match for match in found if match.complete]
    if not complete:
        raise _misfit(path, found, expected)
    first, *others = complete
    for other in others:
        if set(other.tensors) != set(first.tensors) or any(
            not torch.equal(t, other.tensors[n]) for n, t in first.tensors.items()
        ):
            choices = "; ".join(
                f"--key {m.key or repr('')} --prefix {m.prefix or repr('')}" for m in complete
            )
            raise CheckpointError(
                f"{path} holds {expected.spec} {len(complete)} times, with different weights; choose one of: {choices}"
            )
    unused = [p for p in expected.allow_missing if not any(fnmatchcase(n, p) for n in first.random)]
    if unused:
        raise CheckpointError(
            f"--allow-missing {unused[0]!r} matches no tensor that is missing from {path}"
            + (f" (missing: {listed_names(first.random)})" if first.random else ": leave it out")
        )
    return first


def _misfit(path: Path, found: list[Match], expected: Expected) -> CheckpointError:
    if not any(match.tensors for match in found):
        names = listed_names(name for match in found[:1] for name in match.left)
        return CheckpointError(
            f"{path} holds no tensor of {expected.spec}"
            + (
                f"; it holds {names}. If another program named the same network, --by-order matches its tensors by "
                "order and shape"
                if names
                else ""
            )
        )
    nearest = max(found, key=lambda match: len(match.tensors) - len(match.foreign))
    problems = [
        f"{len(names)} {kind}: {listed_names(names)}"
        for kind, names in (
            ("missing", nearest.missing),
            ("of another shape", nearest.misfits),
            ("that are not the backbone's", nearest.foreign),
        )
        if names
    ]
    return CheckpointError(
        f"{path} does not hold {expected.spec}: at {nearest.place}, the nearest, {len(nearest.tensors)} tensors fit; "
        f"{'; '.join(problems)}"
    )


def by_order(path: Path, key: str, found: Mapping[str, Tensor], expected: Expected) -> Match:
    """Match layers by order: the n-th layer of the file is the n-th layer of the backbone's library.

    A layer is a group of tensors whose names differ only in their last part (`weight`, `running_mean` …). Both must
    have the same parts with the same shapes. A classifier may follow in the file.

    Raises:
        CheckpointError: A layer differs from the backbone's at its position.
    """
    theirs = _layers({n: tuple(t.shape) for n, t in found.items()})
    shapes = {n: tuple(t.shape) for n, t in expected.tensors.items()}
    ours = _layers({n: shapes.get(n) for n in expected.order or expected.tensors})
    source_names: dict[str, str] = {}
    for position, (layer, parts) in enumerate(ours):
        if all(shape is None for shape in parts.values()):
            # After the last map, the file may have a classifier for other classes, or none.
            continue
        there, held = theirs[position] if position < len(theirs) else ("nothing more", {})
        if held != parts:
            raise CheckpointError(
                f"{path} does not hold {expected.spec} in its order: layer {position + 1} of the backbone is "
                f"{layer} {_shown(parts)}, and there the file has {there} {_shown(held)}"
            )
        source_names |= {_join(layer, part): _join(there, part) for part in parts}
    counters = [n for n in expected.tensors if n.endswith(_COUNTER)]
    source_names |= _counters(source_names, counters, found)
    taken = set(source_names.values())
    return Match(
        key,
        "",
        {n: found[source] for n, source in source_names.items()},
        source_names,
        counters=tuple(n for n in counters if n not in source_names),
        left=tuple(n for n in found if n not in taken),
    )


_Shape = tuple[int, ...] | None


def _layers(shapes: Mapping[str, _Shape]) -> list[tuple[str, dict[str, _Shape]]]:
    """Group tensors by module, in the order of the modules; counters are left out."""
    layers: dict[str, dict[str, _Shape]] = {}
    for name, shape in shapes.items():
        layer, _, part = name.rpartition(".")
        if part != _COUNTER:
            layers.setdefault(layer, {})[part] = shape
    return list(layers.items())


def _counters(
    source_names: Mapping[str, str], counters: Iterable[str], found: Mapping[str, Tensor]
) -> dict[str, str]:
    """Return the names of the counters that the file has for the matched layers."""
    layers = {
        ours.rpartition(".")[0]: theirs.rpartition(".")[0] for ours, theirs in source_names.items()
    }
    pairs = {n: _join(layers[n.rpartition(".")[0]], _COUNTER) for n in counters}
    return {ours: theirs for ours, theirs in pairs.items() if theirs in found}


def _join(layer: str, part: str) -> str:
    return f"{layer}.{part}" if layer else part


def _shown(parts: Mapping[str, _Shape]) -> str:
    return "(" + ", ".join(f"{part} {list(shape or ())}" for part, shape in parts.items()) + ")"
