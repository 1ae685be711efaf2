"""Workloads of a whole space without building its networks. N candidates, K cells, L layers.

Every operation keeps the shape of its map, so what an edge costs depends on the sizes and on its
own operation alone: one traced network for each operation with weights gives the layers of all
edges, and a candidate is a choice among them.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models import Layer, LayerTable, Workload
from hw_models.table import NOTHING, NUMBERS, numbers_of
from hw_models.workload import loops_of
from nas_service.snn.trace import Maps, traced_blocks, wired
from nas_service.spaces.architecture import EDGE_NAMES, EDGES, IN, OUT, Architecture, Cell, Reads
from nas_service.spaces.cells import CellSpace
from nas_service.spaces.operations import BACK, OPERATIONS
from nas_service.spaces.task import Task

Index = NDArray[np.intp]
Shape = tuple[int | tuple[int, ...], int, int]  # channels, head_pool, hidden: all they depend on
Block = tuple[str, str]  # name of a block, and the operation it was traced with


@dataclass(frozen=True)
class Slot:
    """A place for a weight matrix within a cell, in an order in which matrices can run."""

    pair: int  # position in EDGES
    backward: bool
    matrix: int  # of an operation with several

    @property
    def name(self) -> str:
        """Of the edge, in its direction."""
        name = EDGE_NAMES[self.pair]
        return name[::-1] if self.backward else name


@dataclass(frozen=True, eq=False)
class Composition:
    """Layers of every candidate of a space, from a few traced networks."""

    space: CellSpace
    task: Task
    votes: int = 1
    _traced: dict[Shape, tuple[dict[Block, Layer], Maps]] = field(default_factory=dict, repr=False)
    _bodies: dict[Any, tuple[dict[Block, Layer], Maps]] = field(default_factory=dict, repr=False)
    _numbers: dict[Shape, tuple[NDArray[np.float64], Maps]] = field(
        default_factory=dict, repr=False
    )

    def workload(self, architecture: Architecture) -> Workload:
        """The same as `trace`, without a network."""
        a = architecture
        blocks, maps = self._blocks((a.channels, a.head_pool, a.hidden))
        layers = {name: layer for (name, operation), layer in blocks.items() if not operation}
        for k, cell in enumerate(a.cells):
            for edge in cell.live().edges:
                name = cell.operations[edge.pair].removeprefix(BACK)
                for matrix in edge.operation.matrices:
                    layer = blocks[f"cell{k}.edge{EDGE_NAMES[edge.pair]}{matrix}", name]
                    own = f"cell{k}.edge{edge.name}{matrix}"
                    layers[own] = replace(layer, name=own)
        return wired(a, layers, maps)

    def _blocks(self, shape: Shape) -> tuple[dict[Block, Layer], Maps]:
        """Layers by block and operation; the operation is empty outside of cells."""
        if shape not in self._traced:
            body, maps = self._body(shape[0])
            layers, _ = traced_blocks(self._uniform("skip", shape), self.task, self.votes)
            head = {(name, ""): layers[name] for name in ("hidden", "readout")}
            self._traced[shape] = {**body, **head}, maps
        return self._traced[shape]

    def _body(self, channels: int | tuple[int, ...]) -> tuple[dict[Block, Layer], Maps]:
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
        stride = self.space.stem_stride
        return Architecture(
            (cell,) * self.space.cells, *shape, time_steps=1, weight_bits=8, stem_stride=stride
        )

    # --- many candidates ---------------------------------------------------------------------

    def table(self, drawn: "Drawn") -> LayerTable:
        """Candidates as arrays, in the order of layers of `workload`; edges without weights are
        empty layers. Spike rates are 0: the least that a candidate can cost.
        """
        shapes, which = self._shapes(drawn)
        cells, picked = self._cells_of(drawn)
        count, slots, width = len(which), self._slots, len(self.slots) + 1
        operations = np.zeros((count, slots), dtype=np.intp)
        sources = np.full((count, slots, cells.reads.shape[-1]), -1, dtype=np.intp)
        sources[:, -1, 0] = slots - 2
        loops, adds = np.zeros((count, slots), dtype=np.intp), np.zeros((count, slots))
        for k, cell in enumerate(picked.T):
            inside = slice(width * k + 1, width * (k + 1))
            follow = width * (k + 1)
            operations[:, inside] = cells.operations[cell]
            loops[:, inside] = cells.loops[cell] + LOOPS * k * (cells.loops[cell] > 0)
            reads = cells.reads[cell]
            sources[:, inside.start : follow + 1] = np.where(reads < 0, -1, reads + width * k)
            adds[:, follow] = cells.additions[cell] * shapes.maps[which, k]
        place = (which[:, None], np.arange(slots), operations)
        columns = {name: column[place] for name, column in shapes.numbers.items()}
        columns["input_adds"] += adds
        columns["weight_bits"] = np.where(columns["out_channels"] > 0, self._bits(drawn), 1)
        return LayerTable(
            **columns,
            rates=np.zeros((count, slots, 1)),
            sources=sources,
            loops=loops,
            time_steps=drawn.sizes["time_steps"][:, None].astype(np.float64),
        )

    def connected(self, drawn: "Drawn") -> NDArray[np.bool_]:
        """Candidates whose every cell lets its input through [N]."""
        cells, picked = self._cells_of(drawn)
        return np.asarray(cells.connected[picked].all(-1))

    def _bits(self, drawn: "Drawn") -> NDArray[np.float64]:
        """Weight bits of every slot [N, L], or of all slots [N, 1]."""
        if not self.space.bit_names:
            return drawn.sizes["weight_bits"][:, None]
        parts = self.space.bits_of == "part"
        names = [_bit_name(block, parts) for block in self._block_names]
        return np.stack([drawn.sizes[f"weight_bits_{n}"] for n in names], -1)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Places for the weight matrices of one cell."""
        most = max((len(OPERATIONS[n].matrices) for n in self.space.operations), default=0)
        directions = (True, False) if self.space.backward else (False,)
        places = itertools.product(directions, range(len(EDGES)), range(max(1, most)))
        return tuple(Slot(pair, backward, matrix) for backward, pair, matrix in places)

    @property
    def _slots(self) -> int:
        """L: the stem, every cell's slots and what follows them, the readout."""
        return (len(self.slots) + 1) * self.space.cells + 2

    @cached_property
    def _block_names(self) -> list[str]:
        """Names of all slots in the order they run; of an edge, whatever matrix it holds."""
        names = ["stem"]
        for k in range(self.space.cells):
            names += [f"cell{k}.edge{EDGE_NAMES[slot.pair]}" for slot in self.slots]
            names.append(f"reduction{k}" if k + 1 < self.space.cells else "hidden")
        return [*names, "readout"]

    def _cells_of(self, drawn: "Drawn") -> tuple["CellTable", Index]:
        """Cells as arrays, and which of them each candidate has [N, K]."""
        if self.space.cell_count <= ALL_CELLS:
            return self._all_cells, drawn.cells
        numbers, picked = np.unique(drawn.cells, return_inverse=True)
        cells = [self.space.cell(number) for number in numbers.tolist()]
        table = CellTable.of(cells, self.space.operations, self.slots)
        return table, picked.reshape(drawn.cells.shape)

    @cached_property
    def _all_cells(self) -> "CellTable":
        cells = [self.space.cell(number) for number in range(self.space.cell_count)]
        return CellTable.of(cells, self.space.operations, self.slots)

    def _shapes(self, drawn: "Drawn") -> tuple["ShapeTable", Index]:
        """Numbers of every shape that was drawn, and which one each candidate has [N]."""
        names = [n for n in drawn.sizes if n.startswith("channels")]
        keys = np.stack([drawn.sizes[name] for name in (*names, "head_pool", "hidden")], -1)
        distinct, which = np.unique(keys, axis=0, return_inverse=True)
        shapes = [(*channels, pool, hidden) for *channels, pool, hidden in distinct.tolist()]
        if "channels" not in names:
            shapes = [(tuple(shape[:-2]), *shape[-2:]) for shape in shapes]
        return self._shape_table(tuple(shapes)), which.reshape(-1)

    def _shape_table(self, shapes: tuple[Any, ...]) -> "ShapeTable":
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
            width = len(self.slots) + 1
            for i, name in enumerate(self._block_names):
                slot = self.slots[(i - 1) % width] if name.startswith("cell") else None
                for at, operation in enumerate(self.space.operations if slot else ()):
                    matrices = OPERATIONS[operation].matrices
                    if slot and slot.matrix < len(matrices):
                        layer = blocks[name + matrices[slot.matrix], operation]
                        found[i, at] = numbers_of(layer)
                if not slot:
                    found[i] = numbers_of(blocks[name, ""])
            self._numbers[shape] = found, maps
        return self._numbers[shape]


LOOPS = 1000  # more than the feedback loops of any cell
ALL_CELLS = 20_000  # a space of more cells has only those that are drawn in its tables


def _bit_name(block: str, parts: bool) -> str:
    """The parameter that holds a block's bits, without its `weight_bits_`."""
    return block.partition(".")[0] if parts else block.replace(".", "_")


@dataclass(frozen=True, eq=False)
class Drawn:
    """N candidates: cells by their number among all cells of the space, and values of sizes."""

    cells: Index  # [N, K]
    sizes: dict[str, NDArray[Any]]  # each [N]
    chips: Index  # [N] number of the chip among those of the space

    def architecture(self, space: CellSpace, n: int) -> Architecture:
        """The n-th candidate."""
        cells = tuple(space.cell(int(c)) for c in self.cells[n])
        sizes = {name: values[n].item() for name, values in self.sizes.items()}
        return space.assemble(cells, sizes, space.chip_at(int(self.chips[n])))


def numbered(space: CellSpace, numbers: Index) -> Drawn:
    """Candidates by their number in the order in which a space is iterated."""
    rest, chips = np.divmod(numbers, space.chip_count)
    sizes = {}
    for name, values in reversed(space.sizes.items()):
        rest, at = np.divmod(rest, len(values))
        sizes[name] = np.array(values)[at]
    cells = []
    for _ in range(space.drawn_cells):
        rest, at = np.divmod(rest, space.cell_count)
        cells.append(at)
    return Drawn(_every_cell(space, np.stack(cells[::-1], -1)), sizes, chips)


def sampled(space: CellSpace, count: int, seed: int) -> Drawn:
    """Candidates by independent throws of a fair die."""
    die = np.random.default_rng(seed)
    sizes = {name: die.choice(np.array(values), count) for name, values in space.sizes.items()}
    cells = die.integers(space.cell_count, size=(count, space.drawn_cells))
    return Drawn(_every_cell(space, cells), sizes, die.integers(space.chip_count, size=count))


def _every_cell(space: CellSpace, drawn: Index) -> Index:
    """Numbers of all cells [N, K], from those of the drawn ones."""
    return np.repeat(drawn, space.cells // space.drawn_cells, axis=1)


@dataclass(frozen=True, eq=False)
class CellTable:
    """Cells [C] as arrays; S slots for matrices, 0 among what is read is the cell's input."""

    operations: Index  # [C, S] number of the operation of live edges, the last number for others
    reads: Index  # [C, S + 1, P] slots, from 1, that a slot, or what follows the cell, reads
    loops: Index  # [C, S] number of a slot's feedback loop, 0 for none
    additions: NDArray[np.float64]  # [C]
    connected: NDArray[np.bool_]  # [C]

    @classmethod
    def of(
        cls, cells: Sequence[Cell], names: tuple[str, ...], slots: tuple[Slot, ...]
    ) -> "CellTable":
        """Cells of some operations on the slots that those need."""
        place = {OPERATIONS[n]: i for i, n in enumerate(names)}
        at = {(slot.name, slot.matrix): i for i, slot in enumerate(slots)}
        count, size = len(cells), len(slots)
        operations = np.full((count, size), len(names), dtype=np.intp)
        reads = np.full((count, size + 1, size + 1), -1, dtype=np.intp)
        loops = np.zeros((count, size), dtype=np.intp)
        live = [cell.live() for cell in cells]
        for c, cell in enumerate(live):
            edges = {e.name: e for e in cell.edges if e.operation.weighted}
            end = {IN: 0} | {n: at[n, len(e.operation.matrices) - 1] + 1 for n, e in edges.items()}
            wiring = cell.wiring()
            for name, read in wiring.items():
                first = size if name == OUT else at[name, 0]
                reads[c, first, : len(read.now)] = sorted(end[n] for n in read.now)
            for name, edge in edges.items():
                for m in range(len(edge.operation.matrices)):
                    operations[c, at[name, m]] = place[edge.operation]
                    if m:
                        reads[c, at[name, m], 0] = at[name, m]
            if cell.recurrent:
                for name, loop in _loops(wiring).items():
                    for m in range(len(edges[name].operation.matrices)):
                        loops[c, at[name, m]] = loop
        widest = max(1, int((reads >= 0).sum(-1).max()))
        return cls(
            operations,
            reads[..., :widest],
            loops,
            np.array([cell.additions for cell in live], dtype=np.float64),
            np.array([bool(cell.edges) for cell in live]),
        )


def _loops(wiring: dict[str, Reads]) -> dict[str, int]:
    """The feedback loop of every weighted edge that is in one, from 1: `Workload.loops` of it."""
    names = [name for name in wiring if name != OUT]
    place = {name: i for i, name in enumerate(names)}
    ways = [(place[p], place[n]) for n in names for p in wiring[n].now if p != IN]
    late = [(place[n], place[p]) for n in names for p in wiring[n].late if p != IN]
    return {names[i]: loop for i, loop in enumerate(loops_of(len(names), ways, late)) if loop}


@dataclass(frozen=True, eq=False)
class ShapeTable:
    """Numbers of layers by shape S, slot L and operation O."""

    numbers: dict[str, NDArray[np.float64]]  # each [S, L, O + 1]
    maps: NDArray[np.float64]  # [S, K] values of a cell's node
