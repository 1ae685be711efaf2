"""Share of a study's space that keeps its budgets, from costs alone. N candidates.

Costs are those at the study's assumed spike rate and at the density of its input's bits, as before
a training.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_service.evaluation.feasible_set import Counted, counted, leaves
from nas_service.evaluation.screening import Budgets, Costed
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.batch import CandidateBatch, batch_of_numbers, sample_batch
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.rejection import MEMORY
from nas_service.study.spec import StudySpec

CHUNK = 20_000  # candidates costed at once
WORTH = 10  # leaves that may be counted for each draw
SHARES = (0.1, 0.5, 0.9)

Flags = NDArray[np.bool_]  # [N]


@dataclass(frozen=True)
class Census:
    """Shares of a space, or of a sample of it, 0..1."""

    candidates: int
    exhaustive: bool  # True for the whole space, False for a sample
    connected: float  # with a path from input to output
    within: dict[str, float]  # by constraint, and the memory of a training
    feasible: float  # connected and within every budget
    quantiles: dict[str, list[float]]  # of each bounded measure, at SHARES
    best: dict[str, float]  # by constraint: the least, or the most, of the connected candidates
    counted: tuple[str, ...] = ()  # metrics whose budgets were counted over the whole space
    survivors: int | None = None  # exact number of connected candidates that keep these budgets
    nearest: Architecture | None = None  # the connected candidate of the least total violation

    def to_json(self) -> dict[str, Any]:
        """All shares as JSON values."""
        shares = {name: value for name, value in vars(self).items() if name != "nearest"}
        return shares | {"shares_of_quantiles": list(SHARES)}


def census(
    spec: StudySpec, limit: int = 100_000, seed: int = 0, density: InputDensity = ASSUMED
) -> Census:
    """Counts the whole space, or a sample of a larger one.

    Of a larger space the candidates that keep the budgets on counted metrics are counted exactly,
    if that takes no more than WORTH leaves for each draw; the share of these that keeps every
    budget is estimated from as many draws among them.

    Args:
        spec: The study.
        limit: The most candidates that are costed.
        seed: Seed of the sample.
        density: Of the bits of the study's data.

    Returns:
        Numbers and shares, 0..1, of the candidates within each budget and within all.
    """
    budgets = Budgets.of(spec, density)
    space = budgets.workloads.space
    exhaustive = space.size <= limit
    chunks = _all(space) if exhaustive else _drawn(space, limit, seed)
    parts = [_judge(budgets, batch) for batch in chunks]
    nearest = min(parts, key=lambda part: part.nearest[0])
    kept = {name: np.concatenate([p.kept[name] for p in parts]) for name in parts[0].kept}
    values = {name: np.concatenate([p.values[name] for p in parts]) for name in parts[0].values}
    connected = np.concatenate([p.connected for p in parts])
    feasible = float(np.concatenate([p.feasible for p in parts]).mean())
    subset = None if exhaustive else _subset(budgets, limit)
    if subset is not None:
        feasible = subset.count / space.size * _share_of(subset, limit, seed)
    return Census(
        candidates=len(connected),
        exhaustive=exhaustive,
        connected=float(connected.mean()),
        within={name: float(ok.mean()) for name, ok in kept.items()},
        feasible=feasible,
        quantiles={name: np.quantile(x, SHARES).tolist() for name, x in values.items()},
        best=_best(spec, values, connected),
        counted=() if subset is None else subset.names,
        survivors=None if subset is None else subset.count,
        nearest=nearest.nearest[1],
    )


def _best(
    spec: StudySpec, values: dict[str, NDArray[np.float64]], connected: Flags
) -> dict[str, float]:
    """The best value of the connected candidates for each budget on a known measure."""
    bounded = [c for c in spec.constraints if c.metric in values and connected.any()]
    return {
        spec.constraint_name(c): float(
            np.min(values[c.metric][connected])
            if c.at_most is not None
            else np.max(values[c.metric][connected])
        )
        for c in bounded
    }


def _subset(budgets: Budgets, limit: int) -> Counted | None:
    """The candidates that keep the budgets on counted metrics, where counting them is worth it."""
    return None if leaves(budgets) > WORTH * limit else counted(budgets)


def _share_of(subset: Counted, count: int, seed: int) -> float:
    """Share of a counted subset that keeps every budget, from draws."""
    if not subset.count:
        return 0.0
    parts = [_judge(subset.budgets, x).feasible for x in _drawn_of(subset, count, seed)]
    return float(np.concatenate(parts).mean())


def _drawn_of(subset: Counted, count: int, seed: int) -> Iterator[CandidateBatch]:
    rng = np.random.default_rng(seed)
    for start in range(0, count, CHUNK):
        yield subset.batch(min(CHUNK, count - start), rng)


def feasible(
    spec: StudySpec, limit: int = 100_000, seed: int = 0, density: InputDensity = ASSUMED
) -> Iterator[Architecture]:
    """Connected candidates that keep the budgets, each once.

    Args:
        spec: The study.
        limit: A space of up to so many candidates is listed whole, in its order. Of a larger one
            as many random candidates are costed, then as many of those within counted budgets.
        seed: Seed of the random candidates.
        density: Of the bits of the study's data.

    Yields:
        The candidates.
    """
    budgets = Budgets.of(spec, density)
    space = budgets.workloads.space
    listed: set[Architecture] = set()
    for batch in _all(space) if space.size <= limit else _tried(budgets, limit, seed):
        for n in np.flatnonzero(_judge(budgets, batch).feasible).tolist():
            architecture = batch.architecture(space, n)
            if architecture not in listed:
                listed.add(architecture)
                yield architecture


def _tried(budgets: Budgets, limit: int, seed: int) -> Iterator[CandidateBatch]:
    """Random candidates of a large space, then of what keeps the budgets on counted metrics."""
    yield from _drawn(budgets.workloads.space, limit, seed)
    subset = _subset(budgets, limit)
    if subset is not None and subset.count:
        yield from _drawn_of(subset, limit, seed)


@dataclass(frozen=True, eq=False)
class _Judged:
    connected: Flags
    kept: dict[str, Flags]  # by constraint
    values: dict[str, NDArray[np.float64]]  # by bounded metric
    nearest: tuple[float, Architecture | None]  # the least total violation, and its candidate

    @property
    def feasible(self) -> Flags:
        """Connected candidates that keep every budget [N]."""
        return np.asarray(np.all([self.connected, *self.kept.values()], axis=0))


def _judge(budgets: Budgets, batch: CandidateBatch) -> _Judged:
    spec, costed = budgets.spec, budgets.costed(batch)
    costs = costed.metrics
    bounded = [c for c in spec.constraints if c.measure in costs]
    kept = {spec.constraint_name(c): c.violation(costs[c.measure]) <= 0 for c in bounded}
    return _Judged(
        connected=costed.connected,
        kept={**kept, MEMORY: costed.memory_GiB <= spec.training.memory_GiB},
        values={c.metric: costs[c.measure] for c in bounded} | {MEMORY: costed.memory_GiB},
        nearest=_nearest(budgets, costed, batch),
    )


def _nearest(
    budgets: Budgets, costed: Costed, batch: CandidateBatch
) -> tuple[float, Architecture | None]:
    excess = np.where(costed.connected, budgets.excess(costed), np.inf)
    at = int(np.argmin(excess))
    space = budgets.workloads.space
    return float(excess[at]), batch.architecture(space, at) if costed.connected[at] else None


def _all(space: CellSpace) -> Iterator[CandidateBatch]:
    for start in range(0, space.size, CHUNK):
        yield batch_of_numbers(space, np.arange(start, min(start + CHUNK, space.size)))


def _drawn(space: CellSpace, count: int, seed: int) -> Iterator[CandidateBatch]:
    for start in range(0, count, CHUNK):
        yield sample_batch(space, min(CHUNK, count - start), seed + start)
