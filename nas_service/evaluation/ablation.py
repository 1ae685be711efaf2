"""The effect of each operation of a space on accuracy and costs, from paired trainings.

Samples that use the operation are drawn among the architectures that keep the study's budgets
before training. In the variant of a sample, every edge that carries the operation carries another
one of the space, drawn again until the budgets are kept; the sizes are those of the sample. All
networks are trained alike, each distinct one once.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from nas_service.errors import SpecError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import Evaluation
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.batch import sample_batch
from nas_service.spaces.cell import Cell
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.operations import BACK, OPERATIONS
from nas_service.statistics import LEVEL, Interval, mean
from nas_service.study.spec import StudySpec

DRAWS = 5000  # architectures that are screened for samples, at most
REDRAWS = 200  # of a variant that breaks a budget, at most
CHUNK = 100
COSTS = ("energy_uJ", "parameters", "latency_ms")  # whose change is reported


@dataclass(frozen=True)
class Pair:
    """A sample that uses an operation, and its variant without it, both untrained."""

    operation: str
    sample: Evaluation
    variant: Evaluation


@dataclass(frozen=True)
class Plan:
    """The networks to train and compare."""

    pairs: tuple[Pair, ...]
    operations: tuple[str, ...]
    drawn: int  # architectures screened for samples
    refused: int  # of these, rejected
    redrawn: int  # variants rejected
    alone: dict[str, int]  # by operation, samples that have no variant within the budgets

    @property
    def networks(self) -> tuple[Evaluation, ...]:
        """Every distinct network once."""
        sides = [side for pair in self.pairs for side in (pair.sample, pair.variant)]
        return tuple({side.architecture.digest: side for side in sides}.values())


@dataclass(frozen=True)
class Effect:
    """The changes that dropping one operation makes, over its pairs."""

    operation: str
    pairs: int
    diverged: int  # pairs left out because a network of them diverged
    accuracy: float | None  # mean with the operation, 0..1
    difference: Interval | None  # of accuracy, without minus with
    costs: dict[str, Interval | None]  # relative differences, without / with - 1

    @property
    def verdict(self) -> str:
        """`helps` or `hurts` where the interval of the difference excludes 0, else `none seen`."""
        if self.difference is None or not self.difference.excludes_zero:
            return "none seen"
        return "helps" if self.difference.value < 0 else "hurts"


@dataclass(frozen=True)
class Ablation:
    """The effects of all operations, with the settings of their measurement."""

    study: str
    seed: int
    samples: int  # pairs that were to be drawn for each operation
    epochs: int  # trained, of those of the recipe
    recipe_epochs: int
    networks: int  # trained
    plan: Plan
    effects: tuple[Effect, ...]
    seconds: float  # of all trainings

    def to_json(self) -> dict[str, Any]:
        """The table as JSON values, with the counts of its plan."""
        numbers = {k: v for k, v in vars(self).items() if k not in ("plan", "effects")}
        drawn = {k: getattr(self.plan, k) for k in ("drawn", "refused", "redrawn", "alone")}
        effects = [asdict(e) | {"verdict": e.verdict} for e in self.effects]
        return numbers | drawn | {"level": LEVEL, "effects": effects}


def shortened(spec: StudySpec, epochs: int | None) -> StudySpec:
    """The study without the settings of a search, its trainings ending after `epochs` epochs.

    Args:
        spec: The study.
        epochs: Epochs to train; None for those of the study.

    Returns:
        The study to train a plan's networks by.

    Raises:
        SpecError: The recipe has no such epoch.
    """
    most = spec.training.epochs
    if most == 0:
        raise SpecError("training.epochs = 0: an ablation compares trained networks")
    if epochs is not None and not 1 <= epochs <= most:
        raise SpecError(f"--epochs {epochs}: 1..{most} is possible, the recipe has {most}")
    training = {"until": epochs or spec.training.until, "rungs": ()}
    return spec.model_copy(update={"training": spec.training.model_copy(update=training)})


def plan(evaluator: Evaluator, samples: int, seed: int, draws: int = DRAWS) -> Plan:
    """Draws samples and variants for every operation that carries something.

    Args:
        evaluator: Screens the architectures.
        samples: Samples for each operation.
        seed: Seed of the draws.
        draws: Architectures that are screened for samples, at most.

    Returns:
        The pairs of sample and variant, and what could not be drawn.

    Raises:
        SpecError: No architecture that was drawn keeps the budgets.
    """
    space = evaluator.workloads.space
    operations = tuple(n for n in space.operations if OPERATIONS[n].carries)
    holding: dict[str, list[Evaluation]] = {name: [] for name in operations}
    drawn = refused = 0
    for architecture in _draws(space, seed, draws):
        if all(len(held) == samples for held in holding.values()):
            break
        drawn += 1
        screened = evaluator.screen(architecture, seed)
        refused += screened.rejected
        for name in used(architecture) if not screened.rejected else ():
            if len(holding[name]) < samples:
                holding[name].append(screened)
    if not any(holding.values()):
        raise SpecError(f"none of {drawn} architectures keeps the budgets: there is no sample")
    pairs, redrawn, alone = [], 0, dict.fromkeys(operations, 0)
    for name, held in holding.items():
        for number, sample in enumerate(held):
            variant, tries = _variant(
                evaluator, sample, name, [seed, operations.index(name), number]
            )
            redrawn += tries
            if variant is None:
                alone[name] += 1
            else:
                pairs.append(Pair(name, sample, variant))
    return Plan(tuple(pairs), operations, drawn, refused, redrawn, alone)


def _draws(space: CellSpace, seed: int, count: int) -> Iterator[Architecture]:
    """Architectures of `count` independent draws, each distinct network once."""
    seen = set()
    for start in range(0, count, CHUNK):
        drawn = sample_batch(space, CHUNK, seed * DRAWS + start)
        for n in range(min(CHUNK, count - start)):
            architecture = drawn.architecture(space, n)
            if architecture.digest not in seen:
                seen.add(architecture.digest)
                yield architecture


def used(architecture: Architecture) -> tuple[str, ...]:
    """Operations on live edges, in either direction."""
    states = [state for cell in architecture.cells for state in cell.live().operations]
    names = dict.fromkeys(state.removeprefix(BACK) for state in states)
    return tuple(name for name in names if OPERATIONS[name].carries)


def without(
    architecture: Architecture, dropped: str, space: CellSpace, rng: np.random.Generator
) -> Architecture:
    """The architecture with another operation on every edge that carries the dropped one.

    Args:
        architecture: The sample.
        dropped: Name of the operation to replace, in both directions.
        space: The sample's space, whose states the replacements are drawn from.
        rng: Source of the draws.

    Returns:
        The variant, of the same sizes.
    """
    others = [s for s in space.states if s.removeprefix(BACK) != dropped]
    cells = [
        Cell(
            tuple(
                others[rng.integers(len(others))] if state.removeprefix(BACK) == dropped else state
                for state in cell.operations
            )
        )
        for cell in architecture.cells[: space.drawn_cells]
    ]
    return replace(architecture, cells=tuple(cells * (space.cells // space.drawn_cells)))


def _variant(
    evaluator: Evaluator, sample: Evaluation, dropped: str, seed: list[int]
) -> tuple[Evaluation | None, int]:
    """A variant that keeps the budgets, and the number of those rejected before it."""
    rng = np.random.default_rng(seed)
    for tries in range(REDRAWS):
        variant = without(sample.architecture, dropped, evaluator.workloads.space, rng)
        screened = evaluator.screen(variant, sample.seed)
        if not screened.rejected:
            return screened, tries
    return None, REDRAWS


def trained(evaluator: Evaluator, planned: Plan) -> Iterator[Evaluation]:
    """Trains every distinct network of a plan.

    Args:
        evaluator: Trains and measures the networks.
        planned: The plan.

    Yields:
        The evaluation of each network, after its training.
    """
    for network in planned.networks:
        yield evaluator.train(network)


def effects(planned: Plan, measured: dict[str, Evaluation]) -> tuple[Effect, ...]:
    """The effect of each operation of a plan.

    Args:
        planned: The plan.
        measured: Evaluations of all its networks, by digest of the architecture.

    Returns:
        One effect per operation, in the order of the plan.
    """
    return tuple(
        _effect(name, [p for p in planned.pairs if p.operation == name], measured)
        for name in planned.operations
    )


def _effect(name: str, pairs: list[Pair], measured: dict[str, Evaluation]) -> Effect:
    both = [
        (measured[p.sample.architecture.digest], measured[p.variant.architecture.digest])
        for p in pairs
    ]
    sound = [(a, b) for a, b in both if a.trained and b.trained]
    accuracies = [(a.accuracy or 0.0, b.accuracy or 0.0) for a, b in sound]
    costs = {
        metric: _change(
            [b.hardware_metrics[metric] / a.hardware_metrics[metric] - 1 for a, b in sound],
            math.inf,
        )
        for metric in COSTS
    }
    return Effect(
        name,
        len(sound),
        len(both) - len(sound),
        float(np.mean([a for a, _ in accuracies])) if sound else None,
        _change([b - a for a, b in accuracies], 1.0),
        costs,
    )


def _change(values: list[float], most: float) -> Interval | None:
    """Mean of changes, of which the least that there can be is -1: everything is lost."""
    interval = mean(values)
    return None if interval is None else interval.within(-1.0, most)


def ablation(
    spec: StudySpec, planned: Plan, samples: int, seed: int, measured: list[Evaluation]
) -> Ablation:
    """The effects of a plan whose networks are trained.

    Args:
        spec: The study, as `shortened` returned it.
        planned: The plan.
        samples: Samples that were to be drawn for each operation.
        seed: Seed of the draws.
        measured: Evaluations of all networks of the plan.

    Returns:
        The plan, and each operation's effect on accuracy and costs.
    """
    by_digest = {e.architecture.digest: e for e in measured}
    return Ablation(
        spec.name,
        seed,
        samples,
        spec.training.last,
        spec.training.epochs,
        len(measured),
        planned,
        effects(planned, by_digest),
        sum(e.seconds for e in measured),
    )
