"""Candidates of a space as arrays: N candidates, K cells, C distinct cells, W ways, S slots."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGE_NAMES, EDGES, OUTPUT
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.operations import BACK, OPERATIONS

Index = NDArray[np.intp]


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


ALL_CELLS = 20_000  # a space of more cells has only those that are drawn in its tables


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
        carried = _carried(digits_of(numbers, len(states)), states, ways)
        names = _forward(states)
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


def digits_of(numbers: Index, base: int) -> Index:
    """States of the pairs of nodes of cells, from the numbers of the cells.

    Args:
        numbers: Numbers in the order in which a space is iterated [...].
        base: Number of states of a pair.

    Returns:
        Positions among the states, in the order of EDGES [..., 6].
    """
    return np.asarray(numbers[..., None] // base ** np.arange(len(EDGES))[::-1] % base)


def live_edges(digits: Index, states: tuple[str, ...]) -> Bools:
    """Pairs of nodes whose edge is on a path from a cell's input to its output.

    Args:
        digits: Positions of the edges' states [C, 6].
        states: All states that a pair of nodes can be in.

    Returns:
        True for live edges, whatever their direction [C, 6].
    """
    ways = tuple(Slot(pair, back, 0) for back in (False, True) for pair in range(len(EDGES)))
    carried = _carried(digits, states, ways)
    live = _live(carried < len(_forward(states)), ways)
    return np.asarray(live.reshape(-1, 2, len(EDGES)).any(1))


def _forward(states: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in states if not name.startswith(BACK))


def _carried(digits: Index, states: tuple[str, ...], ways: tuple[Slot, ...]) -> Index:
    """Number of the operation on each way of each cell [C, W], that of `states` for nothing."""
    names = _forward(states)
    found = np.full((len(digits), len(ways)), len(names), dtype=np.intp)
    for w, way in enumerate(ways):
        at = [_place(state, names, way.backward) for state in states]
        found[:, w] = np.array(at)[digits[:, way.pair]]
    return found


def _place(state: str, names: tuple[str, ...], backward: bool) -> int:
    name = state.removeprefix(BACK)
    carries = OPERATIONS[name].carries and state.startswith(BACK) == backward
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
    windows = [OPERATIONS[name].additions for name in names]
    live = carried < len(names)
    met = [live[:, [way.target == node for way in ways]].any(-1) for node in range(1, OUTPUT + 1)]
    found = np.array([*windows, 0])[carried].sum(-1) + live.sum(-1) - np.sum(met, 0)
    return np.asarray(found, dtype=np.float64)
