"""Many candidates of a space as arrays. N candidates, K cells, P parameters of the space."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGES
from nas_service.spaces.cell_space import CellSpace

Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class CandidateBatch:
    """N candidates: cells by their number among all cells of the space, and values of sizes."""

    cells: Index  # [N, K]
    sizes: dict[str, NDArray[Any]]  # each [N]
    chips: Index  # [N] number of the chip among those of the space

    def __len__(self) -> int:
        return len(self.cells)

    def architecture(self, space: CellSpace, n: int) -> Architecture:
        """The n-th candidate.

        Args:
            space: The space that the batch is of.
            n: Its position in the batch, from 0.

        Returns:
            The architecture.
        """
        cells = tuple(space.cell(int(c)) for c in self.cells[n])
        sizes = {name: values[n].item() for name, values in self.sizes.items()}
        return space.assemble(cells, sizes, space.chip_at(int(self.chips[n])))


def batch_of_numbers(space: CellSpace, numbers: Index) -> CandidateBatch:
    """Candidates by their numbers in the order in which a space is iterated.

    Args:
        space: The space.
        numbers: Numbers from 0 to `space.size` - 1 [N].

    Returns:
        N candidates, in the given order.
    """
    rest, chips = np.divmod(numbers, space.chip_count)
    sizes: dict[str, NDArray[Any]] = {}
    for name, values in reversed(space.sizes.items()):
        rest, at = np.divmod(rest, len(values))
        sizes = {name: np.array(values)[at], **sizes}
    cells = []
    for _ in range(space.drawn_cells):
        rest, at = np.divmod(rest, space.cell_count)
        cells.append(at)
    return CandidateBatch(_every_cell(space, np.stack(cells[::-1], -1)), sizes, chips)


def batch_of_codes(space: CellSpace, codes: Index) -> CandidateBatch:
    """Candidates by the codes of their parameters.

    Args:
        space: The space.
        codes: Positions of the values among the choices of the space, as `CellSpace.codes` gives
            them for one candidate [N, P].

    Returns:
        N candidates, in the given order.
    """
    edges = len(EDGES) * space.drawn_cells
    base = len(space.states) ** np.arange(len(EDGES))[::-1]
    cells = codes[:, :edges].reshape(len(codes), space.drawn_cells, len(EDGES)) @ base
    sizes: dict[str, NDArray[Any]] = {}
    for at, (name, values) in enumerate(space.sizes.items(), edges):
        sizes[name] = np.array(values)[codes[:, at]]
    chips = np.zeros(len(codes), dtype=np.intp)
    for at, (_, settings) in enumerate(space.chip, edges + len(sizes)):
        chips = chips * len(settings) + codes[:, at]
    return CandidateBatch(_every_cell(space, cells), sizes, chips)


def sample_batch(space: CellSpace, count: int, seed: int) -> CandidateBatch:
    """Draws candidates independently, every genotype of the space equally likely.

    Args:
        space: The space.
        count: Number N of candidates.
        seed: Seed of the draws.

    Returns:
        N candidates.
    """
    rng = np.random.default_rng(seed)
    sizes = {name: rng.choice(np.array(values), count) for name, values in space.sizes.items()}
    cells = rng.integers(space.cell_count, size=(count, space.drawn_cells))
    chips = rng.integers(space.chip_count, size=count)
    return CandidateBatch(_every_cell(space, cells), sizes, chips)


def _every_cell(space: CellSpace, drawn: Index) -> Index:
    """Numbers of all cells [N, K], from those of the cells that are drawn."""
    return np.repeat(drawn, space.cells // space.drawn_cells, axis=1)


def digits_of(numbers: Index, base: int) -> Index:
    """States of the pairs of nodes of cells, from the numbers of the cells.

    Args:
        numbers: Numbers of cells in the order in which a space is iterated [...].
        base: Number of states that a pair can be in.

    Returns:
        Positions among the states, in the order of EDGES [..., 6].
    """
    return np.asarray(numbers[..., None] // base ** np.arange(len(EDGES))[::-1] % base)
