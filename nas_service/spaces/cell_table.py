"""Many cells as arrays: what `Cell.live`, `wiring` and `additions` say of one, for all at once.

C cells, E directed edges, S slots for weight matrices. An edge in a direction that no cell of the
space can have is left out: E is 6, or 12 where edges may lead backward.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_service.spaces.batch import Index, digits_of
from nas_service.spaces.cell import EDGE_NAMES, EDGES, OUTPUT
from nas_service.spaces.operations import BACK, OPERATIONS

Flags = NDArray[np.bool_]
ALL_CELLS = 20_000  # of a space with more cells, only those of a batch are tabulated


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
        """The node whose value the edge reads."""
        return EDGES[self.pair][1 if self.backward else 0]

    @property
    def target(self) -> int:
        """The node that the edge's output is added to."""
        return EDGES[self.pair][0 if self.backward else 1]


Edges = tuple[Slot, ...]  # the first slot of each directed edge


@dataclass(frozen=True, eq=False)
class CellTable:
    """Cells [C] as arrays; slot 0 among those that are read is the cell's input."""

    operations: Index  # [C, S] number of the operation of live edges, the last number for others
    reads: Index  # [C, S + 1, R] slots, from 1, that a slot, or the layer after the cell, reads
    loops: Index  # [C, S] 1 for slots in the cell's feedback loop, of which it has at most one
    additions: NDArray[np.float64]  # [C]
    alone: Index  # [C] the only slot that the layer after the cell reads, if no other does; or -1
    connected: Flags  # [C]
    live_operations: Index  # [C, E] as `operations`, for directed edges

    @classmethod
    def of(cls, numbers: Index, states: tuple[str, ...], slots: tuple[Slot, ...]) -> "CellTable":
        """The cells of these numbers.

        Args:
            numbers: Numbers of the cells in the order in which a space is iterated [C].
            states: All states that a pair of nodes can be in.
            slots: Places for the weight matrices of a cell, S of them.

        Returns:
            The operations, matrices and reads of C cells.
        """
        edges = tuple(slot for slot in slots if slot.matrix == 0)
        names = _forward(states)
        held = _operations_on(digits_of(numbers, len(states)), states, edges)
        held[~_live(held < len(names), edges)] = len(names)
        matrices = np.array([*(len(OPERATIONS[name].matrices) for name in names), 0])[held]
        wiring = _wired(held < len(names), matrices > 0, edges)
        room = len(slots) // len(edges)
        within = np.arange(room) < matrices[..., None]  # [C, E, matrices of an edge]
        loops = np.where(within, _loops(wiring)[..., None], 0)
        return cls(
            np.where(within, held[..., None], len(names)).reshape(len(numbers), -1),
            _reads(wiring.now, matrices, room),
            loops.reshape(len(numbers), -1),
            _additions(held, names, edges),
            _alone(wiring, matrices, room),
            np.asarray((held < len(names)).any(-1)),
            held,
        )


def live_edges(digits: Index, states: tuple[str, ...]) -> Flags:
    """Pairs of nodes whose edge is on a path from a cell's input to its output.

    Args:
        digits: Positions of the edges' states [C, 6].
        states: All states that a pair of nodes can be in.

    Returns:
        True for live edges, whatever their direction [C, 6].
    """
    edges = tuple(Slot(pair, back, 0) for back in (False, True) for pair in range(len(EDGES)))
    held = _operations_on(digits, states, edges)
    live = _live(held < len(_forward(states)), edges)
    return np.asarray(live.reshape(-1, 2, len(EDGES)).any(1))


def _forward(states: tuple[str, ...]) -> tuple[str, ...]:
    """The operations of a space, by the states that lead forward."""
    return tuple(name for name in states if not name.startswith(BACK))


def _operations_on(digits: Index, states: tuple[str, ...], edges: Edges) -> Index:
    """Number of the operation on each directed edge [C, E], the number of names for none."""
    names = _forward(states)
    held = np.full((len(digits), len(edges)), len(names), dtype=np.intp)
    for e, edge in enumerate(edges):
        numbers = [_number(state, names, edge.backward) for state in states]
        held[:, e] = np.array(numbers)[digits[:, edge.pair]]
    return held


def _number(state: str, names: tuple[str, ...], backward: bool) -> int:
    """Number of a state's operation where it leads in this direction."""
    name = state.removeprefix(BACK)
    carries = OPERATIONS[name].carries and state.startswith(BACK) == backward
    return names.index(name) if carries else len(names)


def _live(used: Flags, edges: Edges) -> Flags:
    """Edges that are on a path from node 0 to node 3 [C, E]."""
    start, goal = np.zeros((2, len(used), OUTPUT + 1), dtype=np.bool_)
    start[:, 0] = goal[:, OUTPUT] = True
    for _ in range(OUTPUT):  # no path has more edges
        for e, edge in enumerate(edges):
            start[:, edge.target] |= start[:, edge.source] & used[:, e]
            goal[:, edge.source] |= goal[:, edge.target] & used[:, e]
    sources, targets = [edge.source for edge in edges], [edge.target for edge in edges]
    live: Flags = used & start[:, sources] & goal[:, targets]
    return live


@dataclass(frozen=True, eq=False)
class Wiring:
    """What each weighted edge, and the cell's output, reads: the cell's input, then edges."""

    now: Flags  # [C, E + 1, 1 + E] of the same time step
    late: Flags  # of the step before


def _wired(live: Flags, weighted: Flags, edges: Edges) -> Wiring:
    """What nodes hold spreads over edges without weights until nothing changes."""
    nodes = np.zeros((2, len(live), OUTPUT + 1, 1 + len(edges)), dtype=np.bool_)
    now, late = nodes
    now[:, 0, 0] = True
    for e, edge in enumerate(edges):
        now[:, edge.target, 1 + e] = live[:, e] & weighted[:, e]
    passes, before = (live & ~weighted)[..., None], -1
    while before != (before := int(np.count_nonzero(nodes))):
        for e, edge in enumerate(edges):
            for node in (now, late):
                reached = late if edge.backward else node
                reached[:, edge.target] |= passes[:, e] & node[:, edge.source]
    return _read_of(now, late, (live & weighted)[..., None], edges)


def _read_of(now: Flags, late: Flags, matrix: Flags, edges: Edges) -> Wiring:
    """From what nodes hold [C, 4, 1 + E] to what weighted edges and the output read."""
    at = [*(edge.source for edge in edges), OUTPUT]
    backward = np.array([*(edge.backward for edge in edges), False])[:, None]
    present = np.concatenate([matrix, np.ones_like(matrix[:, :1])], 1)
    now, late = now[:, at] & present, late[:, at] & present
    return Wiring(now & ~backward, late | (now & backward))


def _reads(now: Flags, matrices: Index, room: int) -> Index:
    """Slots that each slot, and the output, reads [C, S + 1, R]; of an edge its first slot reads.

    `matrices` [C, E] of an edge fill the first of its `room` slots.
    """
    count, edges = matrices.shape
    none = room * edges + 1  # after all slots
    widest = max(1, int(now.sum(-1).max()))
    read = np.sort(np.where(now, _ends(matrices, room)[:, None], none), -1)[..., :widest]
    slots_read = np.full((count, room * edges + 1, widest), -1, dtype=np.intp)
    slots_read[:, ::room] = np.where(read == none, -1, read)
    for m in range(1, room):
        slots = np.arange(edges) * room + m
        slots_read[:, slots, 0] = np.where(matrices > m, slots, -1)
    return slots_read


def _loops(wiring: Wiring) -> Index:
    """1 for edges in the feedback loop, else 0 [C, E].

    A cell has at most one: a cycle takes three nodes of the four, so any two share a node.
    """
    loops = np.zeros((wiring.now.shape[0], wiring.now.shape[1] - 1), dtype=np.intp)
    late = wiring.late.any((1, 2))
    reached = (wiring.now | wiring.late)[late, :-1, 1:]
    for _ in range(loops.shape[1].bit_length()):
        reached |= reached @ reached
    around = reached & reached.swapaxes(1, 2)
    loops[late] = around.any(-1)
    return loops


def _ends(matrices: Index, room: int) -> Index:
    """Slots of what can be read: the cell's input, then the last matrix of each edge [C, 1 + E]."""
    starts = room * np.arange(matrices.shape[1])
    return np.concatenate([np.zeros_like(matrices[:, :1]), matrices + starts], 1)


def _alone(wiring: Wiring, matrices: Index, room: int) -> Index:
    """The slot of which a cell's output is, where nothing else reads it; -1 for several [C]."""
    reads = wiring.now.astype(np.intp) + wiring.late
    output, cells = reads[:, -1], np.arange(len(reads))
    read = output.argmax(-1)
    alone = (output.sum(-1) == 1) & (reads[cells, :, read].sum(-1) == 1)
    return np.where(alone, _ends(matrices, room)[cells, read], -1)


def _additions(held: Index, names: tuple[str, ...], edges: Edges) -> NDArray[np.float64]:
    """Additions of whole maps of each cell [C]."""
    windows = np.array([*(OPERATIONS[name].additions for name in names), 0])
    live = held < len(names)
    into = [[edge.target == node for edge in edges] for node in range(1, OUTPUT + 1)]
    met = np.sum([live[:, edge].any(-1) for edge in into], 0)
    return np.asarray(windows[held].sum(-1) + live.sum(-1) - met, dtype=np.float64)
