"""What a model of accuracy sees of cells: counts along their paths, and operations edge by edge.

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
DEPTH = 1  # column of `Ways.counts`: the proxy `depth` of one cell
PER_DOUBLING = 0.5  # what twice the channels, or epochs, promise in the unit of `promise`
MIRROR = (1, 0, 2, 3, 5, 4)  # positions in EDGES when nodes 1 and 2 change names


def live_codes(codes: Ints, states: tuple[str, ...]) -> Ints:
    """Codes [N, 6] with every edge at 0 that is on no path; of two cells whose inner nodes only
    have other names, one."""
    zero = states.index("zeroize") if "zeroize" in states else len(states)
    live = np.where(live_edges(codes, states), codes, zero)
    other = live[:, MIRROR]
    differs = live != other
    first = np.argmax(differs, 1)
    rows = np.arange(len(codes))
    swap = (live[:, 3] == zero) & (other[rows, first] < live[rows, first])
    return np.asarray(np.where(swap[:, None], other, live))


@dataclass(frozen=True, eq=False)
class Paths:
    """Ways of live cells from input to output that lead ahead, W of them."""

    live: Ints  # [N, 6]
    states: tuple[str, ...]

    @cached_property
    def weighted(self) -> Flags:
        """States that are convolutions [S]."""
        return np.array([operation(s).weighted for s in self.states])

    @cached_property
    def there(self) -> Flags:
        """[N, W]"""
        carries = [operation(s).carries and not s.startswith(BACK) for s in self.states]
        ahead = np.array([*carries, False])[self.live]  # a state that is not one stands for none
        return np.stack([ahead[:, path].all(1) for path in PATHS], -1)

    @cached_property
    def convolutions(self) -> Ints:
        """[N, W]"""
        convolves = np.append(self.weighted, False)[self.live]
        return np.stack([convolves[:, path].sum(1) for path in PATHS], -1)

    def counts(self) -> Floats:
        """Convolutions, the most on one way, whether there are ways with 0, 1, 2, 3 of them, and
        edges in each of the S' states that do something [N, 6 + S'].

        How often a way is there twice, by skips, is left out: a sum of equal terms is one function
        behind its norm.
        """
        does = [k for k, s in enumerate(self.states) if operation(s).acts]
        edges = [(self.live == s).sum(1) for s in does]
        total = np.append(self.weighted, False)[self.live].sum(1)
        most = np.where(self.there, self.convolutions, 0).max(1)
        ways = [(self.there & (self.convolutions == k)).any(1) for k in range(4)]
        return np.stack([total, most, *ways, *edges], -1).astype(np.float64)

    def places(self) -> Ints:
        """Whether some way has a convolution of each kind as its first, second, third from the
        input, and from the output: 1 or 0 [N, 6 V] for V kinds."""
        kinds = np.flatnonzero(self.weighted)
        found = np.zeros((len(self.live), 2, 3, len(kinds)), dtype=np.intp)
        for there, path in zip(self.there.T, PATHS, strict=True):
            on = self.live[:, path]
            for side, order in enumerate((on, on[:, ::-1])):
                place = np.zeros(len(on), dtype=np.intp)
                for state in order.T:
                    for k, kind in enumerate(kinds):
                        here = np.flatnonzero(there & (state == kind))
                        found[here, side, place[here], k] = 1
                    place += np.append(self.weighted, False)[state]
        return found.reshape(len(found), -1)


def promise(counts: Floats) -> Floats:
    """How good cells promise to be [N], before anything is trained: deep ones, and beside that
    large ones, each further convolution less."""
    return np.asarray(np.sqrt(counts[:, DEPTH]) + 0.5 * np.sqrt(counts[:, 0]))
