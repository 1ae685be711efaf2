"""The candidates of a space that take the most and the least memory to train."""

from collections.abc import Mapping

from nas_service.evaluation.training_memory import training_memory_B
from nas_service.snn.workload_cache import WorkloadCache
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGES, Cell
from nas_service.spaces.cell_space import CellSpace, Number
from nas_service.spaces.operations import BACK, OPERATIONS

INNER = (1, 2)
Sizes = Mapping[str, Number]


def largest_training_GiB(workloads: WorkloadCache, batch_size: int) -> float:
    """The most memory that training any candidate takes, as `training_memory_B` bounds it.

    The bound grows with every size but the head's pooling. An edge adds to it on its own, so the
    most is reached where all edges are of the costliest kind; one that leads backward makes all of
    its cell costlier.

    Args:
        workloads: The workloads of the space.
        batch_size: Images of a training batch.

    Returns:
        GiB.
    """
    space = workloads.space
    sizes = {name: max(values) for name, values in space.sizes.items()}
    backward = [state for state in space.states if state.startswith(BACK)]
    largest = (
        _candidate(space, state, sizes | {"head_pool": pool}, other)
        for state in space.states
        for other in (state, *backward)
        for pool in space.head_pool
    )
    return max(training_memory_B(a, workloads.workload(a), batch_size) for a in largest) / 2**30


def smallest_candidate(space: CellSpace) -> Architecture | None:
    """A candidate whose training takes little memory, with weights on its edges where they can be.

    Args:
        space: The space.

    Returns:
        One with a path from input to output; None for a space without one.
    """
    states = [s for s in space.states if not s.startswith(BACK) and s != "zeroize"]
    if not states:
        return None
    state = max(states, key=lambda state: OPERATIONS[state].weighted)  # the first that has any
    sizes = {name: min(values) for name, values in space.sizes.items()}
    return _candidate(space, state, sizes, state)


def _candidate(space: CellSpace, state: str, sizes: Sizes, inner: str) -> Architecture:
    """A candidate with one state at all edges, but perhaps another between the inner nodes."""
    states = (inner if edge == INNER else state for edge in EDGES)
    return space.assemble((Cell(tuple(states)),) * space.cells, sizes, space.chip_at(0))
