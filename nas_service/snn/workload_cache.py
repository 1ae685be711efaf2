"""Workloads of a whole space without building its networks. N candidates, K cells, L layers.

Every operation keeps the shape of its map, so what an edge costs depends on the sizes and on its
own operation alone: one traced network for each operation with weights gives the layers of all
edges, and a candidate is a choice among them.
"""

import itertools
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models import Layer, LayerTable, Workload
from hw_models.layer_table import NOTHING, NUMBERS, numbers_of
from nas_service.snn.trace import Maps, traced_blocks, wired
from nas_service.spaces.architecture import EDGE_NAMES, EDGES, OUTPUT, Architecture, Cell
from nas_service.spaces.cell_space import CellSpace
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

    @property
    def source(self) -> int:
        return EDGES[self.pair][1 if self.backward else 0]

    @property
    def target(self) -> int:
        return EDGES[self.pair][0 if self.backward else 1]


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
            loops[:, inside] = (k + 1) * cells.loops[cell]
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

    def carried(self, drawn: "Drawn") -> Index:
        """Number of the operation on each live way, that of all operations for none [N, K, W]."""
        cells, picked = self._cells_of(drawn)
        return np.asarray(cells.carried[picked])

    def carried_by(self, cells: Index) -> Index:
        """The same of cells by their numbers [C, W]."""
        if self.space.cell_count <= ALL_CELLS:
            return np.asarray(self._all_cells.carried[cells])
        return CellTable.of(cells, self.space.states, self.slots).carried

    @cached_property
    def ways(self) -> tuple[Slot, ...]:
        """W: edges in each direction that they can have."""
        return tuple(slot for slot in self.slots if slot.matrix == 0)

    @property
    def behind_cells(self) -> list[int]:
        """Positions of the layers that read the cells [K]."""
        return [(len(self.slots) + 1) * (k + 1) for k in range(self.space.cells)]

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
        table = CellTable.of(numbers, self.space.states, self.slots)
        return table, picked.reshape(drawn.cells.shape)

    @cached_property
    def _all_cells(self) -> "CellTable":
        numbers = np.arange(self.space.cell_count)
        return CellTable.of(numbers, self.space.states, self.slots)

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
    sizes: dict[str, NDArray[Any]] = {}
    for name, values in reversed(space.sizes.items()):
        rest, at = np.divmod(rest, len(values))
        sizes = {name: np.array(values)[at], **sizes}
    cells = []
    for _ in range(space.drawn_cells):
        rest, at = np.divmod(rest, space.cell_count)
        cells.append(at)
    return Drawn(_every_cell(space, np.stack(cells[::-1], -1)), sizes, chips)


def coded(space: CellSpace, codes: Index) -> Drawn:
    """Candidates by the positions of their values among the choices of the space [N, P]."""
    places = len(EDGES) * space.drawn_cells
    digits = len(space.states) ** np.arange(len(EDGES))[::-1]
    cells = codes[:, :places].reshape(len(codes), space.drawn_cells, len(EDGES)) @ digits
    sizes: dict[str, NDArray[Any]] = {}
    for at, (name, values) in enumerate(space.sizes.items(), places):
        sizes[name] = np.array(values)[codes[:, at]]
    chips = np.zeros(len(codes), dtype=np.intp)
    for at, (_, settings) in enumerate(space.chip, places + len(sizes)):
        chips = chips * len(settings) + codes[:, at]
    return Drawn(_every_cell(space, cells), sizes, chips)


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
    loops: Index  # [C, S] 1 for slots in the cell's feedback loop, of which it has at most one
    additions: NDArray[np.float64]  # [C]
    connected: NDArray[np.bool_]  # [C]
    carried: Index  # [C, W] the operation on live ways, the last number for others

    @classmethod
    def of(cls, numbers: Index, states: tuple[str, ...], slots: tuple[Slot, ...]) -> "CellTable":
        """The cells of these numbers, edges in one of some states, on the slots that they need.

        What `Cell.live`, `wiring` and `additions` tell of one cell, for all cells at once.
        """
        ways = tuple(slot for slot in slots if slot.matrix == 0)
        carried = _carried(numbers, states, ways)
        names = tuple(name for name in states if not name.startswith(BACK))
        carried[~_live(carried < len(names), ways)] = len(names)
        matrices = np.array([*(len(OPERATIONS[name].matrices) for name in names), 0])[carried]
        wiring = _wired(carried < len(names), matrices > 0, ways)
        room = len(slots) // len(ways)
        within = np.arange(room) < matrices[..., None]  # [C, W, matrices of a way]
        loops = np.where(within, _loops(wiring)[..., None], 0)
        return cls(
            np.where(within, carried[..., None], len(names)).reshape(len(numbers), -1),
            _reads(wiring.now, matrices, room),
            loops.reshape(len(numbers), -1),
            _additions(carried, names, ways),
            np.asarray((carried < len(names)).any(-1)),
            carried,
        )


Bools = NDArray[np.bool_]


def _carried(numbers: Index, states: tuple[str, ...], ways: tuple[Slot, ...]) -> Index:
    """Number of the operation on each way of each cell [C, W], that of `states` for nothing."""
    base = len(states)
    digits = numbers[:, None] // base ** np.arange(len(EDGES))[::-1] % base
    names = [name for name in states if not name.startswith(BACK)]
    found = np.full((len(numbers), len(ways)), len(names), dtype=np.intp)
    for w, way in enumerate(ways):
        at = [_place(state, names, way.backward) for state in states]
        found[:, w] = np.array(at)[digits[:, way.pair]]
    return found


def _place(state: str, names: list[str], backward: bool) -> int:
    name = state.removeprefix(BACK)
    carries = OPERATIONS[name].kind != "zero" and state.startswith(BACK) == backward
    return names.index(name) if carries else len(names)


def _live(used: Bools, ways: tuple[Slot, ...]) -> Bools:
    """Ways that are on a path from node 0 to node 3 [C, W]."""
    start, goal = np.zeros((2, len(used), OUTPUT + 1), dtype=np.bool_)
    start[:, 0] = goal[:, OUTPUT] = True
    for _ in range(OUTPUT):  # no path has more edges
        for w, way in enumerate(ways):
            start[:, way.target] |= start[:, way.source] & used[:, w]
            goal[:, way.source] |= goal[:, way.target] & used[:, w]
    sources, targets = [way.source for way in ways], [way.target for way in ways]
    live: Bools = used & start[:, sources] & goal[:, targets]
    return live


@dataclass(frozen=True, eq=False)
class Wiring:
    """What each weighted way, and the output behind them, reads: the input, then ways."""

    now: Bools  # [C, W + 1, 1 + W] of the same time step
    late: Bools  # of the step before


def _wired(live: Bools, weighted: Bools, ways: tuple[Slot, ...]) -> Wiring:
    """What nodes hold spreads over ways without weights until nothing is new."""
    nodes = np.zeros((2, len(live), OUTPUT + 1, 1 + len(ways)), dtype=np.bool_)
    now, late = nodes
    now[:, 0, 0] = True
    for w, way in enumerate(ways):
        now[:, way.target, 1 + w] = live[:, w] & weighted[:, w]
    passes, before = (live & ~weighted)[..., None], -1
    while before != (before := int(np.count_nonzero(nodes))):
        for w, way in enumerate(ways):
            for node in (now, late):
                reached = late if way.backward else node
                reached[:, way.target] |= passes[:, w] & node[:, way.source]
    return _read_of(now, late, (live & weighted)[..., None], ways)


def _read_of(now: Bools, late: Bools, matrix: Bools, ways: tuple[Slot, ...]) -> Wiring:
    at = [*(way.source for way in ways), OUTPUT]
    backward = np.array([*(way.backward for way in ways), False])[:, None]
    present = np.concatenate([matrix, np.ones_like(matrix[:, :1])], 1)
    now, late = now[:, at] & present, late[:, at] & present
    return Wiring(now & ~backward, late | (now & backward))


def _reads(now: Bools, matrices: Index, room: int) -> Index:
    """Slots that each slot, and the output, reads [C, S + 1, P]; of a way its first slot reads."""
    count, ways = matrices.shape
    ends = np.concatenate([np.zeros_like(matrices[:, :1]), matrices + room * np.arange(ways)], 1)
    none = room * ways + 1  # behind all slots
    widest = max(1, int(now.sum(-1).max()))
    read = np.sort(np.where(now, ends[:, None], none), -1)[..., :widest]
    found = np.full((count, room * ways + 1, widest), -1, dtype=np.intp)
    found[:, ::room] = np.where(read == none, -1, read)
    for m in range(1, room):
        slots = np.arange(ways) * room + m
        found[:, slots, 0] = np.where(matrices > m, slots, -1)
    return found


def _loops(wiring: Wiring) -> Index:
    """1 for ways in the feedback loop, else 0 [C, W].

    A cell has at most one: a cycle takes three nodes of the four, so any two share a node.
    """
    found = np.zeros((wiring.now.shape[0], wiring.now.shape[1] - 1), dtype=np.intp)
    late = wiring.late.any((1, 2))
    reached = (wiring.now | wiring.late)[late, :-1, 1:]
    for _ in range(found.shape[1].bit_length()):
        reached |= reached @ reached
    around = reached & reached.swapaxes(1, 2)
    found[late] = around.any(-1)
    return found


def _additions(
    carried: Index, names: tuple[str, ...], ways: tuple[Slot, ...]
) -> NDArray[np.float64]:
    """Additions of whole maps of each cell [C]."""
    kinds = [OPERATIONS[name] for name in names]
    windows = [o.kernel**2 - 1 if o.kind in ("avgpool", "maxpool") else 0 for o in kinds]
    live = carried < len(names)
    met = [live[:, [way.target == node for way in ways]].any(-1) for node in range(1, OUTPUT + 1)]
    found = np.array([*windows, 0])[carried].sum(-1) + live.sum(-1) - np.sum(met, 0)
    return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class ShapeTable:
    """Numbers of layers by shape S, slot L and operation O."""

    numbers: dict[str, NDArray[np.float64]]  # each [S, L, O + 1]
    maps: NDArray[np.float64]  # [S, K] values of a cell's node
