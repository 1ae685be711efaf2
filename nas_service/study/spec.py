"""A study as data: what is searched, on which data and chip, for what and within which budgets.

A study file says nothing about a machine: storage, data folder and device are given at the
command line or in the environment, so a study runs anywhere.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from nas_service.metrics import METRICS, PROXY
from nas_service.spaces.cell_space import CellSpace
from nas_service.study.fields import study_name
from nas_service.study.sections import (
    LIMITS,
    Constraint,
    Data,
    Hardware,
    Network,
    Objective,
    Proxies,
    Quantization,
    Search,
    Section,
    Space,
    Training,
    is_stored,
)


class StudySpec(Section):
    """A whole study file."""

    name: Annotated[str, AfterValidator(study_name)]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    space: Space
    data: Data
    network: Network = Network()
    quantization: Quantization = Quantization()
    training: Training
    proxies: Proxies = Proxies()
    hardware: Hardware = Hardware()
    search: Search = Search()
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=6)]
    constraints: Annotated[tuple[Constraint, ...], Field(max_length=16)] = ()

    @model_validator(mode="after")
    def _distinct(self) -> "StudySpec":
        metrics = [o.metric for o in self.objectives]
        if len(set(metrics)) != len(metrics):
            raise ValueError(f"objectives: {metrics} names a metric twice")
        bounds = [(c.metric, c.at_most is None) for c in self.constraints]
        if len(set(bounds)) != len(bounds):
            raise ValueError("constraints: the same bound is listed twice")
        return self

    @model_validator(mode="after")
    def _compatible(self, info: ValidationInfo) -> "StudySpec":
        """A metric with two bounds can keep both."""
        least = {c.metric: c.at_least for c in self.constraints if c.at_least is not None}
        for c in self.constraints:
            if (
                c.at_most is not None
                and least.get(c.metric, 0.0) > c.at_most
                and not is_stored(info)
            ):
                raise ValueError(
                    f"constraints: {c.metric} at_least = {least[c.metric]:g} is above its "
                    f"at_most = {c.at_most:g}: no candidate keeps both"
                )
        return self

    @model_validator(mode="after")
    def _scalable(self, info: ValidationInfo) -> "StudySpec":
        for o in self.objectives:
            worst, best = self.reference(o), self.ideal(o)
            sign = 1 if o.direction == "maximize" else -1
            if sign * worst >= sign * best and not is_stored(info):
                raise ValueError(
                    f"objective {o.metric!r}, {o.direction}: reference = {worst:g} is the worst "
                    f"value that counts, and not worse than the best, ideal = {best:g}"
                )
        return self

    @model_validator(mode="after")
    def _measurable(self) -> "StudySpec":
        """Every metric that is asked for is one that this study measures."""
        for name in (METRICS[m].proxy for m in self.metrics):
            if name and name not in self.proxies.names:
                raise ValueError(f"{PROXY}{name}: proxies.names must hold {name!r}")
        learned = [m for m in self.metrics if METRICS[m].trained]
        if learned and self.training.epochs == 0:
            raise ValueError(f"{learned[0]}: training.epochs = 0 measures none")
        if self.quantization.scoring == "int8" and self.training.epochs == 0:
            raise ValueError("quantization.scoring = 'int8': training.epochs = 0 scores nothing")
        simulated = [m for m in self.metrics if METRICS[m].simulated]
        if simulated and self.hardware.monte_carlo_chips < 2:
            key = "hardware.monte_carlo_chips"
            raise ValueError(f"{simulated[0]}: {key} says how many to simulate, 2 or more")
        return self

    @model_validator(mode="after")
    def _halvable(self) -> "StudySpec":
        """Successive halving needs a first rung, and compares candidates at equal epochs."""
        key, t = f"search.reduction_factor = {self.search.reduction_factor}", self.training
        if self.search.reduction_factor is None:
            return self
        if t.epochs == 0:
            raise ValueError(f"{key}: training.epochs = 0, there is no training to end early")
        if not t.rungs:
            raise ValueError(f"{key}: training.rungs is empty, epochs before {t.last} are needed")
        if t.rungs[-1] == t.last:
            raise ValueError(
                f"{key}: training.rungs ends with {t.last}, the last epoch: only those before it"
            )
        if "epochs" in self.metrics:
            raise ValueError(f"{key}: 'epochs' is no objective and no constraint then")
        return self

    @property
    def metrics(self) -> list[str]:
        """Metrics of the objectives and the constraints."""
        return [o.metric for o in self.objectives] + [c.metric for c in self.constraints]

    def build_space(self) -> CellSpace:
        """Architectures and the chip settings that are searched beside them."""
        return self.space.build(tuple(self.hardware.search_space.items()))

    def ideal(self, objective: Objective) -> float:
        """The best value there can be, for the hypervolume: given, or the metric's own.

        Raises:
            ValueError: The objective has neither.
        """
        own = METRICS[objective.metric].ideal if objective.direction == "maximize" else 0.0
        best = own if objective.ideal is None else objective.ideal
        if best is None:
            raise ValueError(
                f"objective {objective.metric!r} has no best value: give it `ideal`, the best "
                "that can be hoped for, for the hypervolume"
            )
        return best

    def reference(self, objective: Objective) -> float:
        """The worst value that still counts for the hypervolume: given, or the budget, or 0.

        Raises:
            ValueError: A cost has neither reference nor budget.
        """
        if objective.reference is not None:
            return objective.reference
        if objective.direction == "maximize":
            return 0.0
        for c in self.constraints:
            if c.metric == objective.metric and c.at_most is not None:
                return c.at_most
        raise ValueError(
            f"objective {objective.metric!r} has no budget: give it `reference`, the worst value "
            "that still counts for the hypervolume"
        )

    def constraint_name(self, constraint: Constraint) -> str:
        """The metric's name; `_min` follows where the metric has an upper bound as well."""
        both = sum(c.metric == constraint.metric for c in self.constraints) > 1
        return constraint.metric + ("_min" if both and constraint.at_least is not None else "")

    @property
    def steps(self) -> tuple[int, ...]:
        """Epochs at which candidates are compared: rungs of successive halving, then the last."""
        t = self.training
        return (t.last,) if self.search.reduction_factor is None else (*t.rungs, t.last)

    def scaled(self, metrics: dict[str, float]) -> tuple[float, ...]:
        """Objectives as coordinates: 0 at the ideal value, 1 at the reference, in their order."""
        point = []
        for o in self.objectives:
            ideal = self.ideal(o)
            point.append((metrics[o.metric] - ideal) / ((self.reference(o) - ideal) or 1.0))
        return tuple(point)

    def missed_references(self, metrics: Mapping[str, float]) -> tuple[str, ...]:
        """Metrics of the objectives whose known value is worse than their reference."""
        missed = []
        for o in self.objectives:
            sign = 1 if o.direction == "minimize" else -1
            if o.metric in metrics and sign * metrics[o.metric] > sign * self.reference(o):
                missed.append(o.metric)
        return tuple(missed)

    def objectives_json(self) -> list[dict[str, Any]]:
        """The objectives as JSON, each with the reference and the ideal that count for it."""
        return [
            o.model_dump() | {"reference": self.reference(o), "ideal": self.ideal(o)}
            for o in self.objectives
        ]

    def violations(self, metrics: dict[str, float]) -> dict[str, float]:
        """Relative violation of every constraint, in the order of the study file."""
        return {self.constraint_name(c): c.violation(metrics[c.measure]) for c in self.constraints}

    def known_violations(self, metrics: dict[str, float]) -> dict[str, float]:
        """The same for those constraints whose measure is among the metrics."""
        known = [c for c in self.constraints if c.measure in metrics]
        return {self.constraint_name(c): c.violation(metrics[c.measure]) for c in known}

    def is_feasible(self, metrics: dict[str, float]) -> bool:
        """True where the metrics keep every constraint whose measure is among them."""
        return all(violation <= 0 for violation in self.known_violations(metrics).values())

    def same_search(self, other: "StudySpec") -> bool:
        """True where results may be in one study: name, limits and `training.until` may differ."""
        return self._fixed() == other._fixed()

    def _fixed(self) -> dict[str, Any]:
        return self.model_dump(exclude={"name": True, "search": LIMITS, "training": {"until"}})

    def differences(self, other: "StudySpec") -> dict[str, tuple[Any, Any]]:
        """Dotted keys in which two specifications differ, apart from name, limits and until.

        Returns:
            The values in this one and in the other; None for a key that one has not.
        """
        own, others = _flat(self._fixed()), _flat(other._fixed())
        pairs = {key: (own.get(key), others.get(key)) for key in sorted(own.keys() | others.keys())}
        return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}

    def with_limits_of(self, other: "StudySpec") -> "StudySpec":
        """The same search with another's limits."""
        limits = {name: getattr(other.search, name) for name in LIMITS}
        return self.model_copy(update={"search": self.search.model_copy(update=limits)})


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Values by dotted key, with the position of tables in lists; empty lists are left out."""
    if isinstance(tree, tuple | list) and any(isinstance(entry, dict) for entry in tree):
        tree = {str(position): entry for position, entry in enumerate(tree)}
    if isinstance(tree, dict) and tree:
        return {k: v for key, sub in tree.items() for k, v in _flat(sub, f"{prefix}{key}.").items()}
    return {} if tree in ((), []) else {prefix.rstrip("."): tree}
