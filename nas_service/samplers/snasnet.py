"""SNASNet's random search (Kim et al., ECCV 2022)."""

from collections.abc import Sequence

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas_service.samplers.proposer import Params, Proposer
from nas_service.spaces.cell import EDGES, Cell


class SNASNet(Proposer):
    """Draws one cell for all places by SNASNet's rule, and everything else uniformly.

    Budgets play no part in it.
    """

    def propose(self, study: Study, trial: FrozenTrial) -> Params:
        """Draws a candidate, which follows from the study's seed and the trial's number alone."""
        rng = self.rng(trial.number)
        states = snasnet_cell(self.space.states, rng).operations
        cells = [zip(names, states, strict=True) for names in self.problem.edge_names]
        return self.drawn(rng) | {name: state for cell in cells for name, state in cell}


def snasnet_cell(states: Sequence[str], rng: np.random.Generator) -> Cell:
    """A random cell in which edge 03 carries a signal; dead edges are switched off.

    Args:
        states: What an edge can be, as `CellSpace.states`.
        rng: Source of the random draws.

    Returns:
        The cell.
    """
    while True:
        cell = Cell(tuple(states[i] for i in rng.integers(len(states), size=len(EDGES))))
        if any(edge.name == "03" for edge in cell.edges):
            return cell.live()
