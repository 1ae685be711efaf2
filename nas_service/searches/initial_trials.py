"""The candidates that a search begins with, by name: they become the study's first trials."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nas_service.errors import SpecError
from nas_service.evaluation.screening import Budgets
from nas_service.metrics import METRICS
from nas_service.searches.results import read
from nas_service.searches.session import open_search
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.batch import sample_batch
from nas_service.spaces.cell import EDGES, OUTPUT, Cell
from nas_service.spaces.cell_space import CellSpace, Number
from nas_service.spaces.input_density import LEAST, InputDensity
from nas_service.spaces.operations import OPERATIONS, PRESETS, operations_of
from nas_service.store.store import Store
from nas_service.study.fields import FRONT
from nas_service.study.spec import StudySpec

# One cell each, the same in all places of a network, as text in the operations of `snasnet5`.
PUBLISHED = (
    "0303 0030 2002 0200",  # SNASNet for CIFAR-10 (Kim et al., ECCV 2022), edges lead back
    "0302 0030 3003 0000",  # and for CIFAR-100
    "0331 0033 0003 0000",  # the topology whose sizes NATS-Bench varies (Dong et al., TPAMI 2021)
    "0301 0030 0001 0000",  # ResNet's block as a cell (Dong and Yang, NAS-Bench-201, ICLR 2020)
)
SAMPLE = 5000  # candidates among which the cheapest is searched

Params = dict[str, int | str]


@dataclass(frozen=True)
class InitialTrials:
    """Parameters of the first trials, each network once, and notes on what was left out."""

    parameters: tuple[Params, ...]
    notes: tuple[str, ...]
    awaits_store: bool = False  # True where fronts of other studies are still to be read
    awaits_data: bool = False  # True where costs at the density of the data's bits decide


def resolve(
    spec: StudySpec,
    space: CellSpace,
    store: Store | None = None,
    density: InputDensity | None = None,
) -> InitialTrials:
    """Resolves the candidates that `search.initial` names.

    Of published cells and fronts those that fit are taken.

    Args:
        spec: The study.
        space: The study's space.
        store: Where the fronts of other studies are read; without one they are left out.
        density: Of the bits of the study's data; None before they are read, when no candidate
            may be called too costly that could fit.

    Returns:
        Parameters of the trials in their order, and notes on what was left out.

    Raises:
        SpecError: An entry does not fit the space.
        StudyError: The store has no study of a front's name.
    """
    parameters: dict[str, Params] = {}
    notes = []
    for position, entry in enumerate(spec.search.initial):
        try:
            architectures = list(_named(spec, space, entry, store, density or LEAST))
            fit, left = _fitting(space, architectures, _some_may_fit(entry))
        except SpecError as error:
            raise SpecError(f"search.initial.{position}: {error}") from None
        if _is_front(entry) and store is not None and not architectures:
            notes.append(f"search.initial: {entry} is empty")
        parameters |= {a.digest: p for a, p in fit if a.digest not in parameters}
        if left:
            count, why = len(left), left[0]
            notes.append(
                f"search.initial: {count} of {len(architectures)} left out of {entry}: {why}"
            )
    awaits_store = store is None and any(map(_is_front, spec.search.initial))
    awaits_data = density is None and any(map(_is_costed, spec.search.initial))
    return InitialTrials(tuple(parameters.values()), tuple(notes), awaits_store, awaits_data)


def _is_front(entry: Any) -> bool:
    return isinstance(entry, str) and entry.startswith(FRONT)


def _is_costed(entry: Any) -> bool:
    return isinstance(entry, str) and entry in COSTED


def _some_may_fit(entry: Any) -> bool:
    return _is_front(entry) or entry == "published"


def _fitting(
    space: CellSpace, architectures: Iterable[Architecture], some: bool
) -> tuple[list[tuple[Architecture, Params]], list[str]]:
    """Architectures as the space draws them, with their parameters, and why others do not fit."""
    fit, left = [], []
    for architecture in architectures:
        try:
            drawn = replace(architecture, literal=space.literal)
            fit.append((drawn, space.parameters(architecture)))
        except SpecError as error:
            if not some:
                raise
            left.append(str(error))
    return fit, left


def _named(
    spec: StudySpec, space: CellSpace, entry: Any, store: Store | None, density: InputDensity
) -> Iterable[Architecture]:
    if not isinstance(entry, str):
        names = operations_of(spec.space.operations)
        return [Architecture.from_json(entry, names)]
    if entry.startswith(FRONT):
        return [] if store is None else _front(store, entry.removeprefix(FRONT))
    if _is_costed(entry):
        return COSTED[entry](spec, space, density)
    if entry in NAMED:
        return NAMED[entry](spec, space)
    return [in_the_middle(space, Cell.from_text(entry, operations_of(spec.space.operations)))]


def _front(store: Store, name: str) -> list[Architecture]:
    result = read(open_search(store, name))
    known = result.architectures(result.front)
    return [known[c.digest] for c in result.front]


def in_the_middle(space: CellSpace, cell: Cell) -> Architecture:
    """The architecture with one cell in all places and the middle value of every size.

    Args:
        space: The search space.
        cell: The cell.

    Returns:
        The architecture; its chip settings, where the space has any, have their middle values too.
    """
    sizes = {name: values[(len(values) - 1) // 2] for name, values in space.sizes.items()}
    return _with(space, cell, sizes)


def _with(space: CellSpace, cell: Cell, sizes: dict[str, Number]) -> Architecture:
    chip = tuple((key, values[(len(values) - 1) // 2]) for key, values in space.chip)
    return space.assemble((cell,) * space.cells, sizes, chip)


def _published(_: StudySpec, space: CellSpace) -> list[Architecture]:
    cells = (Cell.from_text(text, PRESETS["snasnet5"]) for text in PUBLISHED)
    return [in_the_middle(space, cell) for cell in cells]


def _extremes(_: StudySpec, space: CellSpace) -> list[Architecture]:
    """Two networks: the lightest convolution between the ends of each cell with every size at its
    cheapest, and the heaviest one on all edges with every size at its most expensive."""
    weighted = sorted((n for n in space.operations if OPERATIONS[n].weighted), key=_weight)
    weighted = weighted or [n for n in space.operations if OPERATIONS[n].carries]
    nothing = next((n for n in space.operations if not OPERATIONS[n].carries), weighted[0])
    light = Cell(tuple(weighted[0] if e == (0, OUTPUT) else nothing for e in EDGES))
    heavy = Cell((weighted[-1],) * len(EDGES))
    return [
        _with(space, cell, {n: _end(n, v, at) for n, v in space.sizes.items()})
        for cell, at in ((light, 0), (heavy, -1))
    ]


def _end(name: str, values: tuple[Number, ...], at: int) -> Number:
    """The cheapest value (0) or the most expensive (-1); larger pools make smaller classifiers."""
    return values[-1 - at if name == "head_pool" else at]


def _weight(name: str) -> int:
    """Weights of an operation between maps of 16 channels."""
    return OPERATIONS[name].weights(16)


def _cheapest(spec: StudySpec, space: CellSpace, density: InputDensity) -> list[Architecture]:
    """Of SAMPLE candidates that of the least product of the costs that the study bounds or
    minimises, as they are screened."""
    drawn = sample_batch(space, SAMPLE, spec.seed)
    budgets = Budgets.of(spec, density)
    costed = budgets.costed(drawn)
    costs, inside = costed.metrics, budgets.excess(costed) <= 0
    if not inside.any():
        raise SpecError(f"'cheapest': none of {SAMPLE} candidates keeps the budgets")
    limited = {c.metric for c in spec.constraints if c.at_most is not None}
    limited |= {o.metric for o in spec.objectives if o.direction == "minimize"}
    counted = [m for m in METRICS if m in limited and METRICS[m].costed] or ["parameters"]
    product = np.sum([np.log(costs[m]) for m in counted], axis=0)
    best = int(np.argmin(np.where(inside, product, np.inf)))
    return [drawn.architecture(space, best)]


NAMED = {"published": _published, "extremes": _extremes}
COSTED = {"cheapest": _cheapest}  # chosen by costs
