"""The grey-box sampler for a study of cells: its space, costs in batches, observations of trials.

N candidates, K cells that are drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from nas_service.data import source_of
from nas_service.errors import StudyError
from nas_service.evaluation.feasible_set import Counted, counted, share_counted
from nas_service.evaluation.screening import Budgets
from nas_service.metrics import MEASURED, METRICS, PROXY, metric_of
from nas_service.samplers.cell_features import PER_DOUBLING, Paths, live_codes, promise
from nas_service.samplers.greybox import (
    Bound,
    Description,
    DomainKnowledge,
    GreyBoxSampler,
    Objective,
    Observation,
)
from nas_service.samplers.greybox.encoding import Codes, Columns, Params
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.batch import CandidateBatch
from nas_service.spaces.cell import EDGE_NAMES
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.rejection import MEMORY, PATH
from nas_service.study.sections import Constraint
from nas_service.study.spec import StudySpec

if TYPE_CHECKING:
    from nas_service.evaluation.evaluator import Evaluator

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
AT_REST = " at the assumed rate"  # suffix of a metric: the value that screening compares
RARE = 0.05  # share of uniform draws below which those within the counted budgets are drawn from
SIZES = 4  # columns of each size, as it says more than one of many counts


def greybox(spec: StudySpec, density: InputDensity = ASSUMED) -> BaseSampler:
    """The grey-box sampler of a study whose data have this density."""
    problem = CellProblem(spec, density)
    return GreyBoxSampler(
        DomainKnowledge(
            problem.costs, problem.describe, problem.key, columns=True, draws=problem.draws
        ),
        [Objective(o.metric, o.direction, spec.reference(o)) for o in spec.objectives],
        problem.bounds,
        problem.learned,
        distributions=problem.distributions,
        observe=problem.observe,
        warm=problem.warm,
        measurement_variance=problem.measurement_variance,
        seed=spec.seed,
    )


def score_by(sampler: BaseSampler, evaluator: "Evaluator") -> None:
    """Give the grey-box sampler the study's proxies that are not compared themselves.

    Args:
        sampler: As `greybox` makes it; others take no scores and stay as they are.
        evaluator: Computes the proxies.
    """
    spec = evaluator.spec
    compared = {o.metric for o in spec.objectives} | {c.metric for c in spec.constraints}
    names = [name for name in spec.proxies.names if PROXY + name not in compared]
    sampler = getattr(sampler, "inner", sampler)  # of one that avoids repeats
    if not names or not isinstance(sampler, GreyBoxSampler):
        return
    space, known = spec.build_space(), dict[str, dict[str, float]]()

    def measure(name: str, candidates: Sequence[Params]) -> list[float]:
        scores = []
        for architecture in (space.draw(FixedTrial(dict(params))) for params in candidates):
            if architecture.digest not in known:
                known[architecture.digest] = evaluator.proxies(architecture)
            scores.append(known[architecture.digest][name])
        return scores

    sampler.score_by({PROXY + name: partial(measure, name) for name in names})


@dataclass(frozen=True, eq=False)
class CellProblem:
    """A study as an optimisation problem over the parameters of its trials."""

    spec: StudySpec
    density: InputDensity = ASSUMED  # of the study's data

    @cached_property
    def space(self) -> CellSpace:
        """The study's space."""
        return self.spec.build_space()

    @cached_property
    def budgets(self) -> Budgets:
        """The study's budgets on costs."""
        return Budgets.of(self.spec, self.density)

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Parameters of a trial, in the order in which the space draws them."""
        recorder = Recorder({})
        self.space.draw(recorder)
        return recorder.distributions

    @cached_property
    def edge_names(self) -> tuple[tuple[str, ...], ...]:
        """Parameters of each cell that is drawn, in the order of its edges."""
        return tuple(
            tuple(f"{cell}_edge{edge}" for edge in EDGE_NAMES) for cell in self.space.cell_names
        )

    @property
    def _compared(self) -> tuple[str, ...]:
        """Metrics, and metrics at a confidence, that the study compares."""
        names = [
            *(o.metric for o in self.spec.objectives),
            *(c.measure for c in self.spec.constraints),
        ]
        return tuple(dict.fromkeys(names))

    @property
    def learned(self) -> tuple[str, ...]:
        """Compared metrics that only a training gives."""
        return tuple(
            name
            for name in self._compared
            if not (metric := metric_of(name)).costed
            or (metric.grows_with_rate and self.spec.training.epochs > 0)
        )

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """A path from input to output, training memory, constraints, and those screened."""
        constraints = [Bound(c.measure, c.at_most, c.at_least) for c in self.spec.constraints]
        at_rest = [
            Bound(c.measure + AT_REST, c.at_most, c.at_least)
            for c in self.spec.constraints
            if self._screened(c)
        ]
        memory = Bound(MEMORY, at_most=self.spec.training.memory_GiB)
        return (Bound(PATH, at_least=1), memory, *constraints, *at_rest)

    def _screened(self, constraint: Constraint) -> bool:
        """Whether the value at the assumed spike rate can already break the constraint."""
        return METRICS[constraint.metric].grows_with_rate and constraint.grows

    @property
    def measurement_variance(self) -> float:
        """Binomial variance of an accuracy of about 0.9 on the validation images; 0 of a score."""
        if self.learned[:1] != ("accuracy",):
            return 0.0
        held_out = self.spec.data.validation_samples
        held_out = held_out or source_of(self.spec.data).validation_samples
        return 0.09 / held_out if held_out else 0.0

    @cached_property
    def _codes(self) -> Codes:
        return Codes(self.distributions)

    def columns(self, candidates: Sequence[Params]) -> Columns:
        """Candidates by parameter: positions among its choices, each [N]."""
        return self._codes.columns(self._codes.encode(candidates))

    def costs(self, candidates: Columns) -> dict[str, Floats]:
        """Everything that is known of candidates without a training.

        Args:
            candidates: By parameter, as `columns` gives them.

        Returns:
            Compared hardware metrics at the assumed spike rate, again under their name in the
            screening, GiB of a training, and whether a path exists, each [N].
        """
        costed = self.budgets.costed(self.drawn(candidates))
        metrics = costed.metrics
        known = {n: metrics[n] for n in self._compared if n in metrics}
        at_rest = {
            c.measure + AT_REST: metrics[c.measure]
            for c in self.spec.constraints
            if self._screened(c)
        }
        path = costed.connected.astype(np.float64)
        return {**known, **at_rest, MEMORY: costed.memory_GiB, PATH: path}

    def drawn(self, candidates: Columns) -> CandidateBatch:
        """Candidates as arrays of cells, sizes and chips."""
        base = len(self.space.states)
        digits = base ** np.arange(len(EDGE_NAMES))[::-1]
        numbers = self._states(candidates) @ digits
        cells = np.repeat(numbers, self.space.cells // self.space.drawn_cells, axis=1)
        sizes = {n: np.array(v)[self._places(candidates, n)] for n, v in self.space.sizes.items()}
        chips = np.zeros(len(cells), dtype=np.intp)
        for key, values in self.space.chip:
            chips = chips * len(values) + self._places(candidates, f"chip_{key}")
        return CandidateBatch(cells, sizes, chips)

    def _states(self, candidates: Columns) -> Ints:
        """Codes of states by cell and edge [N, K, 6]."""
        cells = [np.stack([candidates[name] for name in names], -1) for names in self.edge_names]
        return np.stack(cells, 1)

    def _places(self, candidates: Columns, name: str) -> Ints:
        """Positions of a size or a setting among its values [N]; 0 where it has one value."""
        for drawn in (name, f"{name}_index"):
            if drawn in candidates:
                return candidates[drawn]
        return np.zeros_like(candidates[self.edge_names[0][0]])

    def describe(self, candidates: Columns) -> Description:
        """Features for the model of accuracy.

        Args:
            candidates: By parameter, as `columns` gives them.

        Returns:
            Numbers: counts of each cell, and log2 of the sizes. Kinds: live operations by edge,
            and their positions on paths. Details: all operations, of genotypes.
        """
        states, codes = self.space.states, self._states(candidates)
        cells = [live_codes(codes[:, k], states) for k in range(codes.shape[1])]
        paths = [Paths(live, states) for live in cells]
        counts = [p.counts() for p in paths]
        values = {n: np.array(v, dtype=np.float64) for n, v in self.space.sizes.items()}
        sizes = {n: np.log2(1.0 + v)[self._places(candidates, n)] for n, v in values.items()}
        chips = [self._places(candidates, f"chip_{key}") for key, _ in self.space.chip]
        wide = np.sum([s for n, s in sizes.items() if n.startswith("channels")], axis=0)
        deep = np.mean([promise(c) for c in counts], axis=0)
        details = codes if self.space.literal else codes[:, :0]
        return Description(
            np.column_stack([*counts, *(SIZES * list(sizes.values())), *chips]),
            np.concatenate([*cells, *(p.places() for p in paths)], 1),
            details.reshape(len(codes), details.shape[1] * codes.shape[2]),
            np.asarray(deep + PER_DOUBLING * wide),
            len(states),
        )

    def draws(self, count: int, rng: np.random.Generator) -> list[dict[str, Any]] | None:
        """Candidates drawn uniformly among those within the counted budgets.

        Args:
            count: How many.
            rng: Source of the random draws.

        Returns:
            Parameters; None where enough uniform draws of the whole space keep these budgets.
        """
        return None if self._rare is None else self._params(self._rare.draw(count, rng))

    @cached_property
    def _rare(self) -> Counted | None:
        if share_counted(self.budgets) >= RARE:
            return None
        feasible = counted(self.budgets)
        return feasible if feasible is not None and feasible.count else None

    def _params(self, codes: Ints) -> list[dict[str, Any]]:
        """Candidates given by codes of the space, as Optuna's parameters."""
        columns: dict[str, list[Any]] = {}
        for (name, values), column in zip(self.space.choices.items(), codes.T, strict=True):
            key = name.replace(" ", "_")
            if f"{key}_index" in self.distributions:
                columns[f"{key}_index"] = column.tolist()
            elif key in self.distributions:
                columns[key] = [values[c] for c in column]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def architecture(self, params: Params) -> Architecture:
        """The architecture of a trial's parameters."""
        return self.space.draw(FixedTrial(dict(params)))

    def key(self, params: Params) -> str:
        """Equal for candidates that are the same network."""
        return self.architecture(params).digest

    @property
    def _last(self) -> int:
        """Epochs of a full training, if there are rungs before it; else 0."""
        return 0 if self.spec.search.reduction_factor is None else self.spec.training.last

    def observe(self, trial: FrozenTrial) -> Iterator[Observation]:
        """The result of a trained candidate; of a diverged one its fallbacks, of a rejected none.

        In successive halving a result on a rung has a context of its own.
        """
        attributes, outcome = trial.user_attrs, trial.user_attrs.get("outcome")
        if trial.state != TrialState.COMPLETE or outcome == "rejected":
            return
        names = (*self.learned, *(PROXY + name for name in self.spec.proxies.names))
        values = {name: float(attributes[name]) for name in names if name in attributes}
        if outcome == "diverged":
            objectives = (o.metric for o in self.spec.objectives)
            values |= dict(zip(objectives, trial.values, strict=True))
        if values and (outcome in (*MEASURED, "diverged") or "accuracy" in attributes):
            yield Observation(trial.params, values, context(attributes, self._last))

    def warm(self, study: Study) -> Iterator[Observation]:
        """Results of the studies in the same store that this one learns from.

        Raises:
            StudyError: A study is not in the store.
        """
        for name in self.spec.search.warm_start_from:
            try:
                other = optuna.load_study(study_name=name, storage=study._storage)
            except KeyError:
                raise StudyError(
                    f"search.warm_start_from: no study {name!r} in the store"
                ) from None
            trials = other.get_trials(deepcopy=False)
            last = max((t.user_attrs.get("epochs", 0) for t in trials), default=0)
            for trial in trials:
                rung = context(trial.user_attrs, last)
                for result in self.observe(trial):
                    yield Observation(result.params, result.values, f"{name} {rung}".rstrip())


def context(attributes: Params, last: int) -> str:
    """Name of the rung at which a trial's candidate was measured.

    Args:
        attributes: User attributes of the trial.
        last: Epochs of a full training.

    Returns:
        `epoch N`; empty after the last epoch.
    """
    epochs = attributes.get("epochs", last)
    return f"epoch {epochs:g}" if epochs < last else ""


@dataclass(frozen=True, eq=False)
class Recorder:
    """A trial that draws the first of all choices and records the distributions."""

    distributions: dict[str, BaseDistribution]

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Records the choices and draws the first."""
        self.distributions[name] = CategoricalDistribution(choices)
        return choices[0]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """Records the range and draws its lower end."""
        self.distributions[name] = IntDistribution(low, high, step=step)
        return low
