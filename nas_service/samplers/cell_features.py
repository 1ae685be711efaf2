"""Features of cells for a model of accuracy: counts along paths, and operations by edge.

N cells, S states that an edge can be in, as codes 0 .. S - 1.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas_service.spaces.cell_table import live_edges
from nas_service.spaces.operations import BACK, operation

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Flags = NDArray[np.bool_]
PATHS = ((2,), (0, 4), (1, 5), (0, 3, 5))  # from input to output, as positions in EDGES
DEPTH = 1  # column of `Paths.counts`: the proxy `depth` of one cell
PER_DOUBLING = 0.5  # what doubling the channels or the epochs adds to `promise`
MIRROR = (1, 0, 2, 3, 5, 4)  # positions in EDGES when nodes 1 and 2 are exchanged


def live_codes(codes: Ints, states: tuple[str, ...]) -> Ints:
    """Cells with dead edges switched off, the same for cells that differ in names of nodes only.

    Args:
        codes: States of the edges [N, 6], positions in `states`.
        states: What an edge can be.

    Returns:
        Codes [N, 6]; where no state is "zeroize", a dead edge has the code S.
    """
    zero = states.index("zeroize") if "zeroize" in states else len(states)
    live = np.where(live_edges(codes, states), codes, zero)
    mirrored = live[:, MIRROR]
    rows, first = np.arange(len(codes)), np.argmax(live != mirrored, 1)
    swap = (live[:, 3] == zero) & (mirrored[rows, first] < live[rows, first])
    return np.asarray(np.where(swap[:, None], mirrored, live))


@dataclass(frozen=True, eq=False)
class Paths:
    """Forward paths of live cells from input to output, the W = 4 of PATHS."""

    live: Ints  # [N, 6]
    states: tuple[str, ...]

    @cached_property
    def weighted(self) -> Flags:
        """States that are convolutions [S]."""
        return np.array([operation(s).weighted for s in self.states])

    @cached_property
    def exists(self) -> Flags:
        """Whether each path carries a signal [N, W]."""
        carries = [operation(s).carries and not s.startswith(BACK) for s in self.states]
        forward = np.array([*carries, False])[self.live]  # the last for the code of a dead edge
        return np.stack([forward[:, path].all(1) for path in PATHS], -1)

    @cached_property
    def convolutions(self) -> Ints:
        """Convolutions on each path [N, W]."""
        return np.stack([self._convolves[:, path].sum(1) for path in PATHS], -1)

    @property
    def _convolves(self) -> Flags:
        """Edges that are convolutions [N, 6]."""
        return np.append(self.weighted, False)[self.live]

    def counts(self) -> Floats:
        """Counts of a cell.

        How often a path exists twice, by skips, is left out: a sum of equal terms is one function
        after its normalisation.

        Returns:
            [N, 6 + S']: convolutions, the most on one path, whether there are paths with 0, 1, 2,
            3 of them, and edges in each of the S' states that act on a signal.
        """
        acting = [k for k, state in enumerate(self.states) if operation(state).acts]
        edges = [(self.live == state).sum(1) for state in acting]
        total = self._convolves.sum(1)
        most = np.where(self.exists, self.convolutions, 0).max(1)
        with_count = [(self.exists & (self.convolutions == k)).any(1) for k in range(4)]
        return np.stack([total, most, *with_count, *edges], -1).astype(np.float64)

    def places(self) -> Ints:
        """Positions of convolutions on paths.

        Returns:
            [N, 6 V] for V kinds of convolutions: 1 where some path has one of a kind as its
            first, second or third from the input, then from the output; else 0.
        """
        kinds = np.flatnonzero(self.weighted)
        flags = np.zeros((len(self.live), 2, 3, len(kinds)), dtype=np.intp)
        for exists, path in zip(self.exists.T, PATHS, strict=True):
            states = self.live[:, path]
            for side, order in enumerate((states, states[:, ::-1])):
                place = np.zeros(len(states), dtype=np.intp)
                for state in order.T:
                    for k, kind in enumerate(kinds):
                        cells = np.flatnonzero(exists & (state == kind))
                        flags[cells, side, place[cells], k] = 1
                    place += np.append(self.weighted, False)[state]
        return flags.reshape(len(flags), -1)


def promise(counts: Floats) -> Floats:
    """How good cells are expected to be before anything is trained.

    Args:
        counts: As `Paths.counts` gives them [N, 6 + S'].

    Returns:
        sqrt(depth) + 0.5 sqrt(convolutions) [N].
    """
    return np.asarray(np.sqrt(counts[:, DEPTH]) + 0.5 * np.sqrt(counts[:, 0]))
