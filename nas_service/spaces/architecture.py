"""A candidate network as data: its cells, its sizes, its canonical form and its digest.

A cell has four nodes: 0 is its input, 3 its output, a node is the sum of its incoming edges, and
each of the six pairs i, j (i < j) carries one operation, from i to j or, in backward mode, from j
to i one time step late (Kim et al., ECCV 2022, section 3).
"""

import functools
import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any, cast

from nas_service.errors import SpecError, did_you_mean
from nas_service.spaces.operations import BACK, PRESETS, Operation, operation

EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
EDGE_NAMES = tuple(f"{source}{target}" for source, target in EDGES)
OUTPUT = 3
IN, OUT = "in", "out"  # a cell's ends beside the names of its edges

# A term of a node's sum: (operation, edge that holds its weights or -1, what it is applied to).
# The cell's input is the term ("x", -1, ()).
Term = tuple[str, int, tuple["Term", ...]]
_INPUT: Term = ("x", -1, ())

ChipSettings = tuple[tuple[str, int | str], ...]


@dataclass(frozen=True)
class Edge:
    """One working edge of a cell, in the direction in which it sends."""

    pair: int  # its position in EDGES
    source: int
    target: int
    operation: Operation
    backward: bool

    @property
    def name(self) -> str:
        return f"{self.source}{self.target}"


@dataclass(frozen=True)
class Reads:
    """What a weighted edge, or a cell's output, is fed: names of weighted edges, or IN."""

    now: tuple[str, ...] = ()  # what they give in the same time step
    late: tuple[str, ...] = ()  # what they gave in the step before


@dataclass(frozen=True)
class Cell:
    """One operation per pair of nodes, in the order of EDGES.

    `back:NAME` leads from the later node to the earlier one: what the later node sends at time t
    arrives at t + 1, and is added to what the earlier node sends (SNASNet's backward mode).
    """

    operations: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.operations) != len(EDGES):
            raise SpecError(f"a cell has {len(EDGES)} edges, not {len(self.operations)}")
        for state in self.operations:
            if operation(state).kind == "zero" and state.startswith(BACK):
                raise SpecError(f"{state!r}: an edge that carries nothing has no direction")

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The edges that carry something."""
        found = []
        for pair, (state, ends) in enumerate(zip(self.operations, EDGES, strict=True)):
            if operation(state).kind != "zero":
                backward = state.startswith(BACK)
                source, target = reversed(ends) if backward else ends
                found.append(Edge(pair, source, target, operation(state), backward))
        return tuple(found)

    @property
    def recurrent(self) -> bool:
        """True where a live edge leads backward."""
        return any(edge.backward for edge in self.live().edges)

    def live(self) -> "Cell":
        """The same cell with every edge zeroized that is on no path from node 0 to node 3."""
        edges = self.edges
        from_input = _reached({0}, [(e.source, e.target) for e in edges])
        to_output = _reached({OUTPUT}, [(e.target, e.source) for e in edges])
        keep = {e.pair for e in edges if e.source in from_input and e.target in to_output}
        names = (n if pair in keep else "zeroize" for pair, n in enumerate(self.operations))
        return Cell(tuple(names))

    def wiring(self) -> dict[str, Reads]:
        """What each weighted edge, and the output, reads. Keys are edge names and OUT, in an order
        in which they can run.

        Skips and poolings pass on what they read; over a backward edge it comes a step late.
        """
        nodes: list[set[tuple[str, bool]]] = [{(IN, False)}, set(), set(), set()]
        while True:
            before = [len(node) for node in nodes]
            for edge in self.edges:
                if nodes[edge.source]:
                    nodes[edge.target] |= _sent(edge, nodes[edge.source])
            if before == [len(node) for node in nodes]:
                break
        weighted = [e for e in self.edges if e.operation.weighted and nodes[e.source]]
        weighted.sort(key=lambda e: (not e.backward, e.pair))
        found = {e.name: _reads(nodes[e.source], e.backward) for e in weighted}
        return {**found, OUT: _reads(nodes[OUTPUT], False)}

    @property
    def additions(self) -> int:
        """Additions (or comparisons) of whole maps: branches that meet, windows of poolings."""
        used = self.edges
        pools = [e.operation for e in used if e.operation.kind in ("avgpool", "maxpool")]
        first = len({e.target for e in used} - {0})  # into node 0 the cell's input comes first
        return sum(o.kernel**2 - 1 for o in pools) + len(used) - first

    @property
    def connected(self) -> bool:
        """True where at least one path leads from the input to the output."""
        return bool(self.live().edges)

    def expression(
        self, *, linear: bool = True, tokens: tuple[str, ...] | None = None
    ) -> tuple[Term, ...]:
        """Node 3 as a sum of terms over the input: skips are copies, zeroized edges are nothing.

        With `linear`, operations that are linear are applied to each term of a sum alone.
        `tokens` stand for the operations where those alone do not say what an edge does. Cells
        with backward edges have no finite expression.
        """
        tokens = tokens or self.operations
        sums: list[tuple[Term, ...]] = [(_INPUT,), (), (), ()]
        for edge in sorted(self.edges, key=lambda e: e.target):
            sums[edge.target] += _apply(edge, tokens[edge.pair], sums[edge.source], linear)
        return sums[OUTPUT]

    def canonical(self, *, linear: bool = True, tokens: tuple[str, ...] | None = None) -> str:
        """Text that is equal for two cells only if they compute the same function.

        Exactly then without backward edges. A weighted operation used by several terms is marked
        `#0`, `#1`, ...: one convolution counted twice is not the same function as two
        convolutions of the same shape.
        """
        live, tokens = self.live(), tokens or self.operations
        if any(edge.backward for edge in live.edges):
            return live._recurrent_canonical(tokens)
        expression = live.expression(linear=linear, tokens=tokens)
        shared = [e for e, n in _uses(expression).items() if n > 1]
        marks = (dict(zip(shared, p, strict=True)) for p in _orders(len(shared)))
        return min(_write(expression, m) for m in marks)

    def _recurrent_canonical(self, tokens: tuple[str, ...]) -> str:
        """Live edges one by one; nodes 1 and 2 change names where no edge is between them."""
        plain = {e.name: tokens[e.pair] for e in self.edges}
        texts = [plain]
        if not plain.keys() & {"12", "21"}:
            texts.append({name.translate(MIRROR): token for name, token in plain.items()})
        return min(" ".join(f"{n}:{t}" for n, t in sorted(text.items())) for text in texts)

    def shape(self, *, linear: bool = True) -> str:
        """`canonical` without the marks: cells of one shape differ at most in shared weights."""
        return _write(self.expression(linear=linear), {})

    def text(self, names: tuple[str, ...]) -> str:
        """SNASNet's form `0302 0030 3003 0000`: rows are sources, columns targets, digits the
        position of the operation in `names`. Raises SpecError for one that is not there."""
        rows = [["0"] * (OUTPUT + 1) for _ in range(OUTPUT + 1)]
        for edge in self.edges:
            name = self.operations[edge.pair].removeprefix(BACK)
            if name not in names[:10]:
                raise SpecError(f"operation {name!r} has no digit among {', '.join(names[:10])}")
            rows[edge.source][edge.target] = str(names.index(name))
        return " ".join("".join(row) for row in rows)

    @classmethod
    def from_text(cls, text: str, names: tuple[str, ...]) -> "Cell":
        """The inverse of `text`; raises SpecError naming what is wrong."""
        rows = text.split()
        if len(rows) != OUTPUT + 1 or any(len(r) != OUTPUT + 1 or not _digits(r) for r in rows):
            raise SpecError(f"cell {text!r:.60}: four rows of four digits are needed")
        if any(rows[node][node] != "0" for node in range(OUTPUT + 1)):
            raise SpecError(f"cell {text!r}: no node feeds itself, the diagonal is 0")
        states = [_state(text, rows[i][j], rows[j][i], names) for i, j in EDGES]
        return cls(tuple(states))


MIRROR = str.maketrans("12", "21")


def _digits(row: str) -> bool:
    return row.isascii() and row.isdigit()


def _state(text: str, forward: str, back: str, names: tuple[str, ...]) -> str:
    if forward != "0" and back != "0":
        raise SpecError(f"cell {text!r}: a pair of nodes has one direction, not both")
    digit = int(forward) or int(back)
    if digit >= len(names):
        raise SpecError(f"cell {text!r}: digit {digit}, 0..{len(names) - 1} are possible")
    return (BACK if back != "0" else "") + names[digit]


def _reached(start: set[int], ways: list[tuple[int, int]]) -> set[int]:
    """Nodes that lie on some way from the start."""
    found = set(start)
    while more := {b for a, b in ways if a in found} - found:
        found |= more
    return found


def _sent(edge: Edge, read: set[tuple[str, bool]]) -> set[tuple[str, bool]]:
    """What an edge brings to its target: itself where it has weights, else what it reads."""
    if edge.operation.weighted:  # a backward edge's own matrix runs when its output is needed
        return {(edge.name, False)}
    return {(name, late or edge.backward) for name, late in read}


def _reads(node: set[tuple[str, bool]], late: bool) -> Reads:
    before = {name for name, was_late in node if was_late or late}
    now = {name for name, was_late in node if not (was_late or late)}
    return Reads(tuple(sorted(now)), tuple(sorted(before)))


def _apply(edge: Edge, token: str, source: tuple[Term, ...], linear: bool) -> tuple[Term, ...]:
    if not source:
        return ()
    if edge.operation.kind == "skip":
        return source
    if edge.operation.linear and linear:
        return tuple((token, -1, (term,)) for term in source)
    return ((token, edge.pair if edge.operation.weighted else -1, source),)


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

    cells: tuple[Cell, ...]  # from image to head; the map halves in between
    channels: int | tuple[int, ...]  # of the first cell, doubling from cell to cell; or of each
    head_pool: int  # side of the average pooling before the classifier, in pixels; GLOBAL: all
    hidden: int  # width of the classifier's hidden layer
    time_steps: int  # T
    weight_bits: int | tuple[tuple[str, int], ...]  # 2..8, symmetric; or by part or layer
    threshold: float = 1.0  # of all neurons whose operation sets none
    stem_stride: int = 1
    chip: tuple[tuple[str, int | str], ...] = ()  # settings of its chip that were drawn with it
    literal: bool = False  # its digest is of its cells as they are written, not of their functions

    def __post_init__(self) -> None:
        if not self.cells:
            raise SpecError("cells: at least one cell is needed")
        for name in ("hidden", "time_steps", "stem_stride"):
            _whole(name, getattr(self, name), 1)
        _whole("head_pool", self.head_pool, GLOBAL)
        for value in self.channels if isinstance(self.channels, tuple) else (self.channels,):
            _whole("channels", value, 1)
        if isinstance(self.channels, tuple) and len(self.channels) != len(self.cells):
            raise SpecError(f"channels = {list(self.channels)}: one for each cell is needed")
        for bits in self.all_bits:
            _whole("weight_bits", bits, 1)
            if not 2 <= bits <= 8:
                raise SpecError(f"weight_bits = {bits}: 2..8 is possible")
        if isinstance(self.weight_bits, tuple):
            self._check_bits({name for name, _ in self.weight_bits})
        if not isinstance(self.literal, bool):
            raise SpecError(f"literal = {self.literal!r}: true or false is needed")
        if not isinstance(self.threshold, float) or not 0 < self.threshold < math.inf:
            raise SpecError(f"threshold = {self.threshold!r}: a number > 0 is needed")
        if self.time_steps == 1 and any(cell.recurrent for cell in self.cells):
            raise SpecError("time_steps = 1: a backward edge needs 2 or more, it sends to the next")

    def _check_bits(self, names: set[str]) -> None:
        known = (set(parts_of(len(self.cells))), set(layers_of(len(self.cells))))
        if names not in known:
            raise SpecError(f"weight_bits: one number for each of {', '.join(sorted(known[0]))}")

    @property
    def all_bits(self) -> tuple[int, ...]:
        """Every number of bits that is used."""
        bits = self.weight_bits
        return tuple(b for _, b in bits) if isinstance(bits, tuple) else (bits,)

    def bits(self, block: str) -> int:
        """Weight bits of a block: its own, those of its edge, of its cell, or of the network."""
        if isinstance(self.weight_bits, int):
            return self.weight_bits
        known, (part, _, edge) = dict(self.weight_bits), block.partition(".edge")
        pair = "".join(sorted(edge[:2]))
        return known[part] if part in known else known[f"{part}.edge{pair}"]

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each cell."""
        if isinstance(self.channels, tuple):
            return self.channels
        return tuple(int(self.channels * 2**k) for k in range(len(self.cells)))

    @property
    def connected(self) -> bool:
        """True where every cell lets its input through to its output."""
        return all(cell.connected for cell in self.cells)

    def canonical(self) -> dict[str, Any]:
        """Sizes, canonical cells and chip settings: what the digest is made of.

        Bits of edges are written at their operations, so those of dead edges do not count.
        """
        values = self._plain()
        if isinstance(self.weight_bits, tuple):
            values["weight_bits"] = {n: b for n, b in self.weight_bits if not n.startswith("cell")}
        return {**values, "cells": [self._canonical(k) for k in range(len(self.cells))]}

    def _canonical(self, k: int) -> str:
        cell = self.cells[k]
        if isinstance(self.weight_bits, int):
            return cell.canonical()
        bits = [self.bits(f"cell{k}.edge{edge}") for edge in EDGE_NAMES]
        marked = (
            f"{name}:{b}" if operation(name).weighted else name
            for name, b in zip(cell.operations, bits, strict=True)
        )
        return cell.canonical(tokens=tuple(marked))

    def _plain(self) -> dict[str, Any]:
        """Fields as JSON has them; what has a default and keeps it is not there."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for f in fields(self):
            if values[f.name] == f.default:
                del values[f.name]
        if isinstance(self.channels, tuple):
            values["channels"] = list(self.channels)
        for name in ("weight_bits", "chip"):
            if isinstance(values.get(name), tuple):
                values[name] = dict(values[name])
        return values

    @functools.cached_property
    def digest(self) -> str:
        """16 hex digits, equal only for functionally equal candidates; if literal, for
        those that are written the same."""
        text = json.dumps(self.to_json() if self.literal else self.canonical(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        cells = [dict(zip(EDGE_NAMES, cell.operations, strict=True)) for cell in self.cells]
        return {**self._plain(), "cells": cells}

    @classmethod
    def from_json(
        cls, data: object, names: tuple[str, ...] = PRESETS["snasnet5"]
    ) -> "Architecture":
        """The inverse of `to_json`; raises SpecError naming the key that is wrong.

        A cell may also be text in SNASNet's form, its digits the positions in `names`.
        """
        optional = {f.name for f in fields(cls) if f.default is not MISSING}
        values = dict(_mapping(data, {f.name for f in fields(cls)}, "architecture", optional))
        cells, chip = values.pop("cells"), values.pop("chip", {})
        if not isinstance(cells, list | tuple) or not 1 <= len(cells) <= MAX_CELLS:
            raise SpecError(f"cells: a list of 1..{MAX_CELLS} cells is needed")
        if isinstance(values["channels"], list):
            values["channels"] = tuple(values["channels"])
        if isinstance(values["weight_bits"], dict):
            values["weight_bits"] = _in_order(values["weight_bits"], len(cells))
        if type(values.get("threshold")) is int:
            values["threshold"] = _float("threshold", values["threshold"])
        return cls(cells=tuple(_cell(cell, names) for cell in cells), chip=_chip(chip), **values)


GLOBAL = 0  # head_pool over the whole map, whatever its side
MAX_CELLS = 16
SIZES = ("channels", "head_pool", "hidden", "time_steps", "weight_bits")


def parts_of(cells: int) -> tuple[str, ...]:
    """The parts of a network that can have bits of their own, in the order they run."""
    inner = [n for k in range(cells) for n in (f"cell{k}", f"reduction{k}")][:-1]
    return ("stem", *inner, "hidden", "readout")


def layers_of(cells: int) -> tuple[str, ...]:
    """The same with each edge of a cell by itself."""
    names: list[str] = []
    for part in parts_of(cells):
        inner = [f"{part}.edge{edge}" for edge in EDGE_NAMES]
        names += inner if part.startswith("cell") else [part]
    return tuple(names)


def _in_order(bits: dict[str, Any], cells: int) -> tuple[tuple[str, Any], ...]:
    """Bits by part or layer, in the order they run whatever the order of the table."""
    for names in (parts_of(cells), layers_of(cells)):
        if bits.keys() == set(names):
            return tuple((name, bits[name]) for name in names)
    return tuple(bits.items())  # which the architecture refuses


def _float(name: str, value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise SpecError(f"{name} = {value!r:.40}...: a number > 0 is needed") from None


def _whole(name: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        raise SpecError(f"{name} = {value!r}: a whole number >= {least} is needed")


def _chip(data: object) -> tuple[tuple[str, int | str], ...]:
    if not isinstance(data, dict) or not all(
        isinstance(key, str) and type(value) in (int, str) for key, value in data.items()
    ):
        raise SpecError(f"chip = {data!r:.80}: a table of whole numbers and words is needed")
    return tuple(data.items())


def _cell(data: object, names: tuple[str, ...]) -> Cell:
    if isinstance(data, str):
        return Cell.from_text(data, names)
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
