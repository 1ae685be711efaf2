"""Workloads of a whole space without building its networks. N candidates, K cells, L layers.

Every operation keeps the shape of its map, so what an edge costs depends on the sizes and on its
own operation alone: one traced network for each operation with weights gives the layers of all
edges, and a candidate is a choice among them.
"""

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models import Layer, LayerTable, Workload
from hw_models.table import NOTHING, NUMBERS, numbers_of
from nas_service.snn.trace import Maps, traced_blocks, wired
from nas_service.spaces.architecture import EDGE_NAMES, IN, OUT, SIZES, Architecture, Cell
from nas_service.spaces.cells import CellSpace
from nas_service.spaces.operations import OPERATIONS
from nas_service.spaces.task import Task

Index = NDArray[np.intp]
Shape = tuple[int, int, int]  # channels, head_pool, hidden: all that shapes depend on
Block = tuple[str, str]  # name of a block, and the operation it was traced with


@dataclass(frozen=True, eq=False)
class Composition:
    """Layers of every candidate of a space, from a few traced networks."""

    space: CellSpace
    task: Task
    votes: int = 1
    _traced: dict[Shape, tuple[dict[Block, Layer], Maps]] = field(default_factory=dict, repr=False)
    _bodies: dict[int, tuple[dict[Block, Layer], Maps]] = field(default_factory=dict, repr=False)
    _numbers: dict[Shape, tuple[NDArray[np.float64], Maps]] = field(
        default_factory=dict, repr=False
    )

    def workload(self, architecture: Architecture) -> Workload:
        """The same as `trace`, without a network."""
        a = architecture
        blocks, maps = self._blocks((a.channels, a.head_pool, a.hidden))
        operations = {
            f"cell{k}.edge{edge}": name
            for k, cell in enumerate(a.cells)
            for edge, name in zip(EDGE_NAMES, cell.operations, strict=True)
        }
        layers = {
            name: layer for (name, op), layer in blocks.items() if op in ("", operations.get(name))
        }
        return wired(a, layers, maps)

    def _blocks(self, shape: Shape) -> tuple[dict[Block, Layer], Maps]:
        """Layers by block and operation; the operation is empty outside of cells."""
        if shape not in self._traced:
            body, maps = self._body(shape[0])
            layers, _ = traced_blocks(self._uniform("skip", shape), self.task, self.votes)
            head = {(name, ""): layers[name] for name in ("hidden", "readout")}
            self._traced[shape] = {**body, **head}, maps
        return self._traced[shape]

    def _body(self, channels: int) -> tuple[dict[Block, Layer], Maps]:
        """Everything in front of the head, which depends on the channels alone."""
        if channels not in self._bodies:
            shape = (channels, self.space.head_pool[0], self.space.hidden[0])
            found: dict[Block, Layer] = {}
            for operation in ("skip", *self._weighted):
                layers, maps = traced_blocks(self._uniform(operation, shape), self.task, self.votes)
                for name, layer in layers.items():
                    found[name, operation if name.startswith("cell") else ""] = layer
            self._bodies[channels] = found, maps
        return self._bodies[channels]

    @cached_property
    def _weighted(self) -> tuple[str, ...]:
        return tuple(name for name in self.space.operations if OPERATIONS[name].weighted)

    def _uniform(self, operation: str, shape: Shape) -> Architecture:
        """A network of one operation on every edge."""
        cell = Cell((operation,) * len(EDGE_NAMES))
        cells = (cell,) * self.space.cells
        return Architecture(cells, *shape, time_steps=1, weight_bits=8)

    # --- many candidates ---------------------------------------------------------------------

    def table(self, drawn: "Drawn") -> LayerTable:
        """Candidates as arrays, in the order of layers of `workload`; edges without weights are
        empty layers. Spike rates are 0: the least that a candidate can cost.
        """
        shapes, which = self._shapes(drawn)
        count, slots = len(which), self._slots
        operations = np.zeros((count, slots), dtype=np.intp)
        sources = np.full((count, slots, self._cells.reads.shape[-1]), -1, dtype=np.intp)
        sources[:, -1, 0] = slots - 2
        adds = np.zeros((count, slots))
        for k, cell in enumerate(drawn.cells.T):
            edges = slice(CELL_SLOTS * k + 1, CELL_SLOTS * (k + 1))
            follow = CELL_SLOTS * (k + 1)
            operations[:, edges] = self._cells.operations[cell]
            reads = self._cells.reads[cell]
            sources[:, edges.start : follow + 1] = np.where(reads < 0, -1, reads + CELL_SLOTS * k)
            adds[:, follow] = self._cells.additions[cell] * shapes.maps[which, k]
        place = (which[:, None], np.arange(slots), operations)
        columns = {name: column[place] for name, column in shapes.numbers.items()}
        columns["input_adds"] += adds
        columns["weight_bits"] = np.where(
            columns["out_channels"] > 0, drawn.sizes["weight_bits"][:, None], 1
        )
        return LayerTable(
            **columns,
            rates=np.zeros((count, slots, 1)),
            sources=sources,
            time_steps=drawn.sizes["time_steps"][:, None].astype(np.float64),
        )

    def connected(self, drawn: "Drawn") -> NDArray[np.bool_]:
        """Candidates whose every cell lets its input through [N]."""
        return np.asarray(self._cells.connected[drawn.cells].all(-1))

    @property
    def _slots(self) -> int:
        """L: the stem, six edges and what follows them for each cell, the readout."""
        return CELL_SLOTS * self.space.cells + 2

    @cached_property
    def _cells(self) -> "CellTable":
        return CellTable.of(self.space.operations)

    def _shapes(self, drawn: "Drawn") -> tuple["ShapeTable", Index]:
        """Numbers of every shape that was drawn, and which one each candidate has [N]."""
        keys = np.stack([drawn.sizes[name] for name in SHAPE_SIZES], -1)
        distinct, which = np.unique(keys, axis=0, return_inverse=True)
        return self._shape_table(tuple(map(tuple, distinct.tolist()))), which.reshape(-1)

    def _shape_table(self, shapes: tuple[Shape, ...]) -> "ShapeTable":
        found = [self._shape_numbers(shape) for shape in shapes]
        numbers = np.stack([numbers for numbers, _ in found])  # [S, L, O + 1, F]
        columns = {name: np.ascontiguousarray(numbers[..., i]) for i, name in enumerate(NUMBERS)}
        return ShapeTable(columns, np.array([maps for _, maps in found], dtype=np.float64))

    def _shape_numbers(self, shape: Shape) -> tuple[NDArray[np.float64], Maps]:
        """Numbers of each slot under each operation [L, O + 1, F]; the last is no operation."""
        if shape not in self._numbers:
            blocks, maps = self._blocks(shape)
            found = np.empty((self._slots, len(self.space.operations) + 1, len(NUMBERS)))
            found[:] = NOTHING
            slot = {name: i for i, name in enumerate(_block_names(self.space.cells))}
            for (name, operation), layer in blocks.items():
                at = self.space.operations.index(operation) if operation else slice(None)
                found[slot[name], at] = numbers_of(layer)
            self._numbers[shape] = found, maps
        return self._numbers[shape]


CELL_SLOTS = len(EDGE_NAMES) + 1  # a cell's edges, and the reduction or head that follows
SHAPE_SIZES = ("channels", "head_pool", "hidden")


def _block_names(cells: int) -> list[str]:
    """Blocks in the order they run."""
    names = ["stem"]
    for k in range(cells):
        names += [f"cell{k}.edge{edge}" for edge in EDGE_NAMES]
        names.append(f"reduction{k}" if k + 1 < cells else "hidden")
    return [*names, "readout"]


@dataclass(frozen=True, eq=False)
class Drawn:
    """N candidates: cells by their number among all cells of the space, and values of SIZES."""

    cells: Index  # [N, K]
    sizes: dict[str, Index]  # each [N]
    chips: Index  # [N] number of the chip among those of the space

    def architecture(self, space: CellSpace, n: int) -> Architecture:
        """The n-th candidate."""
        cells = tuple(space.cell(int(c)) for c in self.cells[n])
        chip = space.chip_at(int(self.chips[n]))
        sizes: dict[str, Any] = {name: int(self.sizes[name][n]) for name in SIZES}
        return Architecture(cells, chip=chip, **sizes)


def numbered(space: CellSpace, numbers: Index) -> Drawn:
    """Candidates by their number in the order in which a space is iterated."""
    rest, chips = np.divmod(numbers, space.chip_count)
    sizes = {}
    for name in reversed(SIZES):
        values = np.array(getattr(space, name))
        rest, at = np.divmod(rest, len(values))
        sizes[name] = values[at]
    cells = []
    for _ in range(space.cells):
        rest, at = np.divmod(rest, space.cell_count)
        cells.append(at)
    return Drawn(np.stack(cells[::-1], -1), sizes, chips)


def sampled(space: CellSpace, count: int, seed: int) -> Drawn:
    """Candidates by independent throws of a fair die."""
    die = np.random.default_rng(seed)
    sizes = {name: die.choice(np.array(getattr(space, name)), count) for name in SIZES}
    cells = die.integers(space.cell_count, size=(count, space.cells))
    return Drawn(cells, sizes, die.integers(space.chip_count, size=count))


@dataclass(frozen=True, eq=False)
class CellTable:
    """Every cell of some operations [C], in the order of their product."""

    operations: Index  # [C, 6] number of the operation of live edges, the last number for others
    reads: Index  # [C, 7, P] slots within the cell that an edge, or what follows, reads; 0 is IN
    additions: NDArray[np.float64]  # [C]
    connected: NDArray[np.bool_]  # [C]

    @classmethod
    def of(cls, names: tuple[str, ...]) -> "CellTable":
        cells = [Cell(ops).live() for ops in itertools.product(names, repeat=len(EDGE_NAMES))]
        place = {name: i for i, name in enumerate(names) if OPERATIONS[name].weighted}
        operations = [[place.get(n, len(names)) for n in cell.operations] for cell in cells]
        slot = {IN: 0, **{edge: i + 1 for i, edge in enumerate(EDGE_NAMES)}}
        reads = np.full((len(cells), CELL_SLOTS, CELL_SLOTS), -1, dtype=np.intp)
        for c, cell in enumerate(cells):
            for name, ends in cell.wiring().items():
                at = CELL_SLOTS - 1 if name == OUT else slot[name] - 1
                reads[c, at, : len(ends)] = sorted(slot[end] for end in ends)
        widest = max(1, int((reads >= 0).sum(-1).max()))
        return cls(
            np.array(operations, dtype=np.intp),
            reads[..., :widest],
            np.array([cell.additions for cell in cells], dtype=np.float64),
            np.array([cell.connected for cell in cells]),
        )


@dataclass(frozen=True, eq=False)
class ShapeTable:
    """Numbers of layers by shape S, slot L and operation O."""

    numbers: dict[str, NDArray[np.float64]]  # each [S, L, O + 1]
    maps: NDArray[np.float64]  # [S, K] values of a cell's node
