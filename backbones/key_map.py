"""Which tensor of a file is which of a backbone: by name, or, where another program named them, by order and shape."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor

from backbones.checkpoint_file import CheckpointError, form
from contract.errors import listed_names

# What classifiers have after their last map, under the names in use.
_HEAD = re.compile(r"(fc|head|classifier|last_linear|pre_logits|fc_norm|aux|AuxLogits|head_dist)\b")
# A counter that batch normalisation with a momentum never reads; older programs do not write it.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Wanted:
    """What a backbone needs.

    Attributes:
        spec: Its name.
        tensors: Its tensors by name, in the order in which the network registers them.
        left_out: The form of what its library's network has besides, after the last map.
        order: The names of both, in the library's order.
        allow_missing: Shell patterns of names that a file may lack.
    """

    spec: str
    tensors: Mapping[str, Tensor]
    left_out: Collection[str] = frozenset()
    order: tuple[str, ...] = ()
    allow_missing: tuple[str, ...] = ()

    def may_lack(self, name: str) -> bool:
        """Whether a tensor that a file has not may keep its random numbers."""
        return any(fnmatchcase(name, pattern) for pattern in self.allow_missing)


@dataclass(frozen=True)
class Match:
    """How well one place and prefix of a file, or its order, fit a backbone.

    Attributes:
        key: Where in the file the tensors lie; empty for its top.
        prefix: What stands before their names.
        tensors: Those of the backbone that were found in their shape.
        source_names: By the backbone's name, the file's.
        missing: Names that the file lacks and may not lack.
        random: Names that the file lacks and was allowed to.
        counters: Counters of batches that the file lacks.
        misfits: Names in another shape, with both forms.
        foreign: Names in that place that neither the backbone nor its classifier has.
        left: Names in that place that are not taken.
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
        """Whether the backbone is whole, and nothing is over but a classifier."""
        return bool(self.tensors) and not (self.missing or self.misfits or self.foreign)

    @property
    def place(self) -> str:
        """Where it is, in words."""
        parts = [f"key {self.key!r}"] if self.key else []
        parts += [f"prefix {self.prefix!r}"] if self.prefix else []
        return " and ".join(parts) or "the top of the file"


def by_name(key: str, prefix: str, found: Mapping[str, Tensor], wanted: Wanted) -> Match:
    """Match the tensors of one place by the names after a prefix."""
    own = {n.removeprefix(prefix): t for n, t in found.items() if n.startswith(prefix)}
    fitting = {n: own[n] for n, t in wanted.tensors.items() if n in own and own[n].shape == t.shape}
    lacking = [n for n in wanted.tensors if n not in own]
    return Match(
        key,
        prefix,
        fitting,
        {n: prefix + n for n in fitting},
        missing=tuple(n for n in lacking if not n.endswith(_COUNTER) and not wanted.may_lack(n)),
        random=tuple(n for n in lacking if not n.endswith(_COUNTER) and wanted.may_lack(n)),
        counters=tuple(n for n in lacking if n.endswith(_COUNTER)),
        misfits=tuple(
            f"{n} (file {form(own[n])}, backbone {form(t)})"
            for n, t in wanted.tensors.items()
            if n in own and own[n].shape != t.shape
        ),
        foreign=tuple(
            n
            for n in own
            if n not in wanted.tensors and n not in wanted.left_out and not _HEAD.match(n)
        ),
        left=tuple(n for n in found if n.removeprefix(prefix) not in fitting),
    )


def prefixes(found: Iterable[str], wanted: Wanted) -> list[str]:
    """What may stand before the names: whatever stands before one of them."""
    starts = dict.fromkeys([""])
    for name in found:
        parts = name.split(".")
        for cut in range(1, len(parts)):
            if ".".join(parts[cut:]) in wanted.tensors:
                starts[".".join(parts[:cut]) + "."] = None
    return list(starts)


def choose(path: Path, found: list[Match], wanted: Wanted) -> Match:
    """The one match that is complete.

    Raises:
        CheckpointError: There is none, or there are several with different weights.
    """
    complete = [match for match in found if match.complete]
    if not complete:
        raise _misfit(path, found, wanted)
    first, *others = complete
    for other in others:
        if set(other.tensors) != set(first.tensors) or any(
            not torch.equal(t, other.tensors[n]) for n, t in first.tensors.items()
        ):
            choices = "; ".join(
                f"--key {m.key or repr('')} --prefix {m.prefix or repr('')}" for m in complete
            )
            raise CheckpointError(
                f"{path} holds {wanted.spec} {len(complete)} times, with different weights; choose one of: {choices}"
            )
    unused = [p for p in wanted.allow_missing if not any(fnmatchcase(n, p) for n in first.random)]
    if unused:
        raise CheckpointError(
            f"--allow-missing {unused[0]!r} matches nothing that {path} lacks"
            + (f" (it lacks {listed_names(first.random)})" if first.random else ": leave it out")
        )
    return first


def _misfit(path: Path, found: list[Match], wanted: Wanted) -> CheckpointError:
    if not any(match.tensors for match in found):
        names = listed_names(name for match in found[:1] for name in match.left)
        return CheckpointError(
            f"{path} holds no tensor of {wanted.spec}"
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
        f"{path} does not hold {wanted.spec}: at {nearest.place}, the nearest, {len(nearest.tensors)} tensors fit; "
        f"{'; '.join(problems)}"
    )


def by_order(path: Path, key: str, found: Mapping[str, Tensor], wanted: Wanted) -> Match:
    """Match layer by layer: the n-th layer of the file is the n-th of the backbone's library.

    A layer is the tensors whose names differ in their last part alone (``weight``, ``running_mean`` …). Each must hold
    the same parts in the same shapes. The file may go on after the backbone, with a classifier.

    Raises:
        CheckpointError: A layer is another one than the backbone's at its position.
    """
    theirs = _layers({n: tuple(t.shape) for n, t in found.items()})
    shapes = {n: tuple(t.shape) for n, t in wanted.tensors.items()}
    ours = _layers({n: shapes.get(n) for n in wanted.order or wanted.tensors})
    source_names: dict[str, str] = {}
    for position, (layer, parts) in enumerate(ours):
        if all(shape is None for shape in parts.values()):
            # After the last map, where the file may hold a classifier of other classes, or none.
            continue
        there, held = theirs[position] if position < len(theirs) else ("nothing more", {})
        if held != parts:
            raise CheckpointError(
                f"{path} does not hold {wanted.spec} in its order: layer {position + 1} of the backbone is "
                f"{layer} {_shown(parts)}, and there the file has {there} {_shown(held)}"
            )
        source_names |= {_join(layer, part): _join(there, part) for part in parts}
    counters = [n for n in wanted.tensors if n.endswith(_COUNTER)]
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
    """Tensors by the module that holds them, in the order in which the modules come; counters left out."""
    layers: dict[str, dict[str, _Shape]] = {}
    for name, shape in shapes.items():
        layer, _, part = name.rpartition(".")
        if part != _COUNTER:
            layers.setdefault(layer, {})[part] = shape
    return list(layers.items())


def _counters(
    source_names: Mapping[str, str], counters: Iterable[str], found: Mapping[str, Tensor]
) -> dict[str, str]:
    """The counters of batches of the layers that were matched, where the file has them."""
    layers = {
        ours.rpartition(".")[0]: theirs.rpartition(".")[0] for ours, theirs in source_names.items()
    }
    pairs = {n: _join(layers[n.rpartition(".")[0]], _COUNTER) for n in counters}
    return {ours: theirs for ours, theirs in pairs.items() if theirs in found}


def _join(layer: str, part: str) -> str:
    return f"{layer}.{part}" if layer else part


def _shown(parts: Mapping[str, _Shape]) -> str:
    return "(" + ", ".join(f"{part} {list(shape or ())}" for part, shape in parts.items()) + ")"


__all__ = ["Match", "Wanted", "by_name", "by_order", "choose", "prefixes"]
