"""A candidate network as data: its cells, its sizes, its canonical form and its digest.

A cell has four nodes: 0 is its input, 3 its output, a node is the sum of its incoming edges, and
each of the six edges i -> j (i < j) carries one operation (Kim et al., ECCV 2022, section 3).
"""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

from nas_service.errors import SpecError, did_you_mean, pick
from nas_service.spaces.operations import OPERATIONS

EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
EDGE_NAMES = tuple(f"{source}{target}" for source, target in EDGES)
OUTPUT = 3
IN, OUT = "in", "out"  # a cell's ends beside the names of its edges

# A term of a node's sum: (operation, edge that holds its weights or -1, what it is applied to).
# The cell's input is the term ("x", -1, ()).
Term = tuple[str, int, tuple["Term", ...]]
_INPUT: Term = ("x", -1, ())


@dataclass(frozen=True)
class Cell:
    """One operation per edge, in the order of EDGES."""

    operations: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.operations) != len(EDGES):
            raise SpecError(f"a cell has {len(EDGES)} edges, not {len(self.operations)}")
        for name in self.operations:
            pick(OPERATIONS, name, "operation")

    def live(self) -> "Cell":
        """The same cell with every edge zeroized that is on no path from node 0 to node 3."""
        used = {e for e, name in enumerate(self.operations) if OPERATIONS[name].kind != "zero"}
        from_input, to_output = {0}, {OUTPUT}
        for e, (source, target) in enumerate(EDGES):  # EDGES are sorted by source
            if e in used and source in from_input:
                from_input.add(target)
        for e, (source, target) in reversed(list(enumerate(EDGES))):
            if e in used and target in to_output:
                to_output.add(source)
        keep = {e for e in used if EDGES[e][0] in from_input and EDGES[e][1] in to_output}
        return Cell(tuple(n if e in keep else "zeroize" for e, n in enumerate(self.operations)))

    def wiring(self) -> dict[str, tuple[str, ...]]:
        """What each weighted edge, and the output, reads: edges with weights, or the input.

        Keys are edge names and OUT; skips and poolings pass on what they read.
        """
        nodes: list[set[str]] = [{IN}, set(), set(), set()]
        found: dict[str, tuple[str, ...]] = {}
        for e, (source, target) in _edges_by_target():
            operation = OPERATIONS[self.operations[e]]
            if operation.kind == "zero" or not nodes[source]:
                continue
            if operation.weighted:
                found[EDGE_NAMES[e]] = tuple(sorted(nodes[source]))
                nodes[target].add(EDGE_NAMES[e])
            else:
                nodes[target] |= nodes[source]
        return {**dict(sorted(found.items())), OUT: tuple(sorted(nodes[OUTPUT]))}

    @property
    def additions(self) -> int:
        """Additions (or comparisons) of whole maps: branches that meet, windows of poolings."""
        used = [(e, OPERATIONS[n]) for e, n in enumerate(self.operations)]
        used = [(e, operation) for e, operation in used if operation.kind != "zero"]
        windows = sum(o.kernel**2 - 1 for _, o in used if o.kind in ("avgpool", "maxpool"))
        return windows + len(used) - len({EDGES[e][1] for e, _ in used})

    @property
    def connected(self) -> bool:
        """True where at least one path leads from the input to the output."""
        return any(OPERATIONS[name].kind != "zero" for name in self.live().operations)

    def expression(self, *, linear: bool = True) -> tuple[Term, ...]:
        """Node 3 as a sum of terms over the input: skips are copies, zeroized edges are nothing.

        With `linear`, operations that are linear are applied to each term of a sum alone.
        """
        sums: list[tuple[Term, ...]] = [(_INPUT,), (), (), ()]
        for e, (source, target) in _edges_by_target():
            sums[target] += _apply(self.operations[e], e, sums[source], linear)
        return sums[OUTPUT]

    def canonical(self, *, linear: bool = True) -> str:
        """Text that is equal for two cells exactly if they compute the same function.

        A weighted operation used by several terms is marked `#0`, `#1`, ...: one convolution
        counted twice is not the same function as two convolutions of the same shape.
        """
        expression = self.expression(linear=linear)
        shared = [e for e, n in _uses(expression).items() if n > 1]
        marks = (dict(zip(shared, p, strict=True)) for p in _orders(len(shared)))
        return min(_write(expression, m) for m in marks)

    def shape(self, *, linear: bool = True) -> str:
        """`canonical` without the marks: cells of one shape differ at most in shared weights."""
        return _write(self.expression(linear=linear), {})


def _edges_by_target() -> list[tuple[int, tuple[int, int]]]:
    return sorted(enumerate(EDGES), key=lambda edge: edge[1][1])


def _apply(name: str, edge: int, source: tuple[Term, ...], linear: bool) -> tuple[Term, ...]:
    operation = OPERATIONS[name]
    if operation.kind == "zero" or not source:
        return ()
    if operation.kind == "skip":
        return source
    if operation.linear and linear:
        return tuple((name, -1, (term,)) for term in source)
    return ((name, edge if operation.weighted else -1, source),)


def _uses(expression: tuple[Term, ...]) -> Counter[int]:
    uses: Counter[int] = Counter()
    for _, edge, inner in expression:
        uses.update([edge] if edge >= 0 else [])
        uses.update(_uses(inner))
    return uses


def _orders(n: int) -> "Iterator[tuple[int, ...]]":
    return itertools.permutations(range(n))


def _write(expression: tuple[Term, ...], marks: dict[int, int]) -> str:
    return " + ".join(sorted(_write_term(term, marks) for term in expression))


def _write_term(term: Term, marks: dict[int, int]) -> str:
    name, edge, inner = term
    mark = f"#{marks[edge]}" if edge in marks else ""
    return f"{name}{mark}({_write(inner, marks)})" if inner else name


@dataclass(frozen=True)
class Architecture:
    """Everything that defines a candidate; equal architectures are equal networks untrained."""

    cells: tuple[Cell, ...]  # from image to head; the map halves and channels double in between
    channels: int  # of the first cell
    head_pool: int  # side of the average pooling before the classifier, in pixels
    hidden: int  # width of the classifier's hidden layer
    time_steps: int  # T
    weight_bits: int  # 2..8, symmetric, per output channel
    chip: tuple[tuple[str, int | str], ...] = ()  # settings of its chip that were drawn with it

    def __post_init__(self) -> None:
        if not self.cells:
            raise SpecError("cells: at least one cell is needed")
        for name in SIZES:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise SpecError(f"{name} = {value!r}: a whole number >= 1 is needed")
        if not 2 <= self.weight_bits <= 8:
            raise SpecError(f"weight_bits = {self.weight_bits}: 2..8 is possible")

    @property
    def connected(self) -> bool:
        """True where every cell lets its input through to its output."""
        return all(cell.connected for cell in self.cells)

    def canonical(self) -> dict[str, Any]:
        """Sizes, canonical cells and chip settings: what the digest is made of."""
        return {**self._plain(), "cells": [cell.canonical() for cell in self.cells]}

    def _plain(self) -> dict[str, Any]:
        """Fields as JSON has them; a chip that was not drawn is not there."""
        values = asdict(self)
        chip = dict(values.pop("chip"))
        return values | ({"chip": chip} if chip else {})

    @property
    def digest(self) -> str:
        """16 hex digits, equal for functionally equal candidates."""
        text = json.dumps(self.canonical(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        cells = [dict(zip(EDGE_NAMES, cell.operations, strict=True)) for cell in self.cells]
        return {**self._plain(), "cells": cells}

    @classmethod
    def from_json(cls, data: object) -> "Architecture":
        """The inverse of `to_json`; raises SpecError naming the key that is wrong."""
        values = dict(_mapping(data, {f.name for f in fields(cls)}, "architecture", {"chip"}))
        cells, chip = values.pop("cells"), values.pop("chip", {})
        if not isinstance(cells, list | tuple) or not 1 <= len(cells) <= MAX_CELLS:
            raise SpecError(f"cells: a list of 1..{MAX_CELLS} cells is needed")
        return cls(cells=tuple(_cell(cell) for cell in cells), chip=_chip(chip), **values)


MAX_CELLS = 16
SIZES = tuple(f.name for f in fields(Architecture) if f.name not in ("cells", "chip"))


def _chip(data: object) -> tuple[tuple[str, int | str], ...]:
    if not isinstance(data, dict) or not all(
        isinstance(key, str) and type(value) in (int, str) for key, value in data.items()
    ):
        raise SpecError(f"chip = {data!r:.80}: a table of whole numbers and words is needed")
    return tuple(data.items())


def _cell(data: object) -> Cell:
    operations = _mapping(data, set(EDGE_NAMES), "cell")
    for edge, name in operations.items():
        if not isinstance(name, str):
            raise SpecError(f"cell edge {edge} = {name!r}: the name of an operation is needed")
    return Cell(tuple(cast(str, operations[edge]) for edge in EDGE_NAMES))


def _mapping(
    data: object, keys: set[str], what: str, optional: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise SpecError(f"{what}: a table with the keys {sorted(keys)} is needed, not {data!r:.60}")
    for key in data:
        if key not in keys:
            raise SpecError(f"{what}: unknown key {key!r}{did_you_mean(str(key), keys)}")
    if missing := sorted(keys - optional - set(data)):
        raise SpecError(f"{what}: missing {missing}")
    return data
