"""A study's archive costed anew: its front on another chip, or under other budgets, untrained.

Costs of a trained candidate follow from its stored spike rates, as the search computed them; beside
them are those counted in its traces, where the study records some. What a check rejected before its
training is costed at the assumed spike rate, and has no accuracy.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from numbers import Real
from typing import Any

import numpy as np

from hw_models import Workload
from hw_models.metrics import HARDWARE_METRICS
from hw_models.uncertainty import Ensemble
from nas_service.errors import SpecError, pick
from nas_service.evaluation.screening import profile_of, workload_cache_of
from nas_service.metrics import CONFIDENCE, COUNTED, MEASURED, METRICS, check_range
from nas_service.searches.candidate import Candidate
from nas_service.searches.input_density import density_of
from nas_service.searches.results import Result
from nas_service.searches.session import demand_plugins
from nas_service.searches.traced import Traced, count
from nas_service.spaces.architecture import ChipSettings
from nas_service.study.assumed_rates import AssumedRates
from nas_service.study.rejection import MEMORY, PATH
from nas_service.study.sections import Constraint
from nas_service.study.spec import StudySpec
from nas_service.text import counted, percent

STAYS, ENTERS, LEAVES = "stays", "enters", "leaves"
ENERGY = "energy_uJ"
NO_BUDGETS = {PATH, MEMORY}  # checks that no other chip or budget changes
Costs = dict[str, float]  # by metric


@dataclass(frozen=True)
class Change:
    """What becomes of a candidate of either front."""

    before: Candidate
    after: Candidate
    kind: str  # STAYS, ENTERS or LEAVES
    reason: str = ""  # why it enters or leaves
    traced: Traced | None = None  # its costs counted in recorded inputs

    def to_json(self) -> dict[str, Any]:
        """The trial with its metrics before and after."""
        return {
            "trial": self.after.trial,
            "digest": self.after.digest,
            "change": self.kind,
            "reason": self.reason,
            "before": self.before.metrics,
            "after": self.after.metrics,
            "violations": self.after.violations,
            "traces": self.traced and self.traced.to_json(),
        }


@dataclass(frozen=True, eq=False)
class Recosted:
    """A study as its search stored it, and as it would be on the other chip."""

    before: Result
    after: Result
    notes: tuple[str, ...]  # what was replaced, assumed or left out
    traced: Mapping[str, Traced] = field(default_factory=dict)  # by digest, of both fronts

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """The candidates of both fronts: those that stay, then enter, then leave."""
        old, new = ({c.digest: c for c in r.front} for r in (self.before, self.after))
        everyone = {c.digest: (b, c) for b, c in zip(*self._measured, strict=True)}
        return (
            *(self._change(*everyone[d], STAYS) for d in new if d in old),
            *(self._change(*everyone[d], ENTERS) for d in new if d not in old),
            *(self._change(*everyone[d], LEAVES) for d in old if d not in new),
        )

    def _change(self, before: Candidate, after: Candidate, kind: str) -> Change:
        reasons = {ENTERS: self._entry, LEAVES: self._exit}
        reason = reasons[kind](before, after) if kind in reasons else ""
        return Change(before, after, kind, reason, self.traced.get(after.digest))

    @cached_property
    def untrained(self) -> tuple[Candidate, ...]:
        """Candidates rejected before their training that keep the budgets now, at assumed rates."""
        rejected = (c for c in self.after.candidates if c.archived == "rejected")
        return tuple(c for c in rejected if _within(c) and not NO_BUDGETS & {*c.rejected_by})

    @property
    def _measured(self) -> tuple[list[Candidate], list[Candidate]]:
        """The trials that measured a candidate, before and after."""
        pairs = zip(self.before.candidates, self.after.candidates, strict=True)
        measured = [(b, c) for b, c in pairs if b.measured]
        return [b for b, _ in measured], [c for _, c in measured]

    def _entry(self, before: Candidate, after: Candidate) -> str:
        if over := _broken(before):
            return f"keeps {', '.join(over)} now"
        if before.missed_references:
            return f"reaches the reference of {', '.join(before.missed_references)} now"
        return _beaten(self.before, before, "no longer worse than trial {} in every objective")

    def _name(self, constraint: Constraint) -> str:
        return self.after.spec.constraint_name(constraint)

    def _exit(self, before: Candidate, after: Candidate) -> str:
        if over := _broken(after):
            broken = (c for c in self.after.spec.constraints if self._name(c) in over)
            return ", ".join(_distance(c, over[self._name(c)]) for c in broken)
        if after.missed_references:
            return f"feasible, below reference: {', '.join(after.missed_references)}"
        return _beaten(self.after, after, "trial {} is at least as good in every objective")

    @property
    def traced_metrics(self) -> list[str]:
        """Metrics counted in traces to show: of the objectives and budgets, or the energy."""
        spec = self.after.spec
        named = [o.metric for o in spec.objectives] + [c.metric for c in spec.constraints]
        known = {name for traced in self.traced.values() for name in traced.after}
        return [n for n in dict.fromkeys(named) if n in known] or [ENERGY]

    def to_json(self) -> dict[str, Any]:
        """The document of `nas recost --json`."""
        spec = self.after.spec
        return {
            "study": spec.name,
            "profile": spec.hardware.profile,
            "settings": spec.hardware.overrides,
            "constraints": [c.model_dump(exclude_none=True) for c in spec.constraints],
            "hypervolume": {"before": self.before.hypervolume, "after": self.after.hypervolume},
            "front": {
                "before": [c.trial for c in self.before.front],
                "after": [c.trial for c in self.after.front],
            },
            "below_reference": [c.trial for c in self.after.below_reference],
            "objectives": spec.objectives_json(),
            "changes": [change.to_json() for change in self.changes],
            "untrained": [c.trial for c in self.untrained],
            "notes": list(self.notes),
        }


def _within(c: Candidate) -> bool:
    return all(v <= 0 for v in c.violations.values())


def _broken(c: Candidate) -> dict[str, float]:
    return {name: v for name, v in c.violations.items() if v > 0}


def _distance(constraint: Constraint, violation: float) -> str:
    """How far a candidate is over or below a limit, in words."""
    percent = f"{100 * violation:.0f}" if violation >= 0.1 else f"{100 * violation:.2g}"
    word = "over" if constraint.at_most is not None else "below"
    return f"{word} {constraint.described} by {percent} %"


def _beaten(result: Result, c: Candidate, text: str) -> str:
    """The text with the trial of the front that is at least as good as a candidate."""
    own = np.array(result.spec.scaled(c.metrics))
    for other in result.front:
        if (np.array(result.spec.scaled(other.metrics)) <= own).all():
            return text.format(other.trial)
    return "trained for another number of epochs than the front"


def recost(
    result: Result,
    profile: str | None = None,
    settings: Mapping[str, Any] | None = None,
    budgets: Mapping[str, float] | None = None,
) -> Recosted:
    """Costs all candidates of a study on another chip or under other budgets; nothing is trained.

    Args:
        result: The study as it is in its store.
        profile: Name or file of the chip's profile, by default the study's with its overrides.
        settings: Settings of the chip, which replace those that candidates carry.
        budgets: Limits by metric, which replace those of the study or join them. A new one is at
            least the limit where more of the metric is better, else at most. The lower one of two
            on a metric is named METRIC_min.

    Returns:
        The study before and after.

    Raises:
        SpecError: Nothing is changed, a name or value is not possible, the study does not measure
            what a budget limits, or it has an objective or budget that only a simulation of the
            chip can measure.
    """
    if not isinstance(result, Result):
        raise SpecError(f"result = {result!r:.80}: what nas_service.search returns is needed")
    demand_plugins(result.search)
    settings, budgets = _table(settings, "settings"), _table(budgets, "budgets")
    profile = None if profile is None else str(profile)
    if profile is None and not settings and not budgets:
        raise SpecError("nothing to cost anew: another profile, setting or budget is needed")
    spec = _changed(result.spec, profile, settings, budgets)
    costs = _costs(spec, _at_rates(result), settings)
    candidates = tuple(_with_costs(spec, c, costs[c.digest]) for c in result.candidates)
    _demand_measured(budgets, candidates)
    after = replace(result, spec=spec, candidates=candidates)
    fronts = {c.digest: c for c in (*result.front, *after.front)}
    traced = count(result, spec, tuple(fronts.values()), settings)
    notes = _notes(result, profile, settings)
    return Recosted(result, after, (*notes, *filter(None, [traced.note])), traced.by_digest)


def _table(given: object, name: str) -> dict[str, Any]:
    """A copy of a mapping whose keys are texts; SpecError for anything else."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise SpecError(f"{name} = {given!r:.80}: a dict is needed, its keys are names")
    return dict(given)


def _changed(
    spec: StudySpec, profile: str | None, settings: dict[str, Any], budgets: dict[str, float]
) -> StudySpec:
    own = spec.hardware
    hardware = {
        "profile": own.profile if profile is None else profile,
        "overrides": {**(own.overrides if profile is None else {}), **settings},
    }
    constraints = _constraints(spec, budgets)
    named = [o.metric for o in spec.objectives] + [c.metric for c in constraints]
    if simulated := [name for name in named if not _is_known(name)]:
        raise SpecError(
            f"{simulated[0]} cannot be costed anew: it is an objective or budget, and only a "
            "measurement of the trained network on the other chip gives it"
        )
    changes = {"hardware": own.model_copy(update=hardware), "constraints": constraints}
    return spec.model_copy(update=changes)


def _constraints(spec: StudySpec, budgets: Mapping[str, float]) -> tuple[Constraint, ...]:
    """The study's budgets with other limits, and further ones."""
    own = {spec.constraint_name(c): c for c in spec.constraints}
    for name, limit in budgets.items():
        _check_limit(name, own[name].metric if name in own else name, limit)
    replaced = [c.with_limit(float(budgets[n])) if n in budgets else c for n, c in own.items()]
    return (*replaced, *(_new(spec, n, x) for n, x in budgets.items() if n not in own))


def _check_limit(name: str, metric: str, limit: float) -> None:
    pick(METRICS, metric, "metric", "budgets")
    if not isinstance(limit, Real) or isinstance(limit, bool) or not math.isfinite(limit):
        raise SpecError(f"budgets: {name} = {limit!r:.60}: a finite number is needed")
    try:
        check_range(metric, {f"budgets: {name}": limit})
    except ValueError as error:
        raise SpecError(str(error)) from None
    if limit <= 0:
        raise SpecError(f"budgets: {name} = {limit:g}: a number above 0 is needed")


def _demand_measured(budgets: Iterable[str], candidates: Sequence[Candidate]) -> None:
    """SpecError for a budget that would be ignored, as nothing has been measured for it."""
    measured = [c for c in candidates if c.measured]
    known = {name.partition(CONFIDENCE)[0] for c in measured for name in c.metrics}
    for name in budgets:
        metric = name.removesuffix("_min")
        if measured and metric not in known:
            raise SpecError(f"budgets: {name}: the study measures no {metric} of its candidates")


def _new(spec: StudySpec, metric: str, limit: float) -> Constraint:
    """A budget from below on what is better when larger, else from above."""
    maximised = {o.metric for o in spec.objectives if o.direction == "maximize"}
    better_large = metric in maximised or metric == "accuracy" or METRICS[metric].proxy
    return Constraint(metric=metric, **{"at_least" if better_large else "at_most": float(limit)})


@lru_cache(maxsize=2)  # one result is costed again and again while somebody tries chips
def _at_rates(result: Result) -> dict[str, tuple[ChipSettings, Workload]]:
    """The chip settings and the workload, at its spike rates, of each candidate, by digest."""
    archive = result.search.store.archive(result.search.id)
    workloads = workload_cache_of(result.spec)
    assumed = AssumedRates.of(result.spec, density_of(result.search))
    known = {}
    for digest, own in archive.recorded({c.digest for c in result.candidates}).items():
        workload, rates = workloads.workload(own.architecture), own.spike_rates
        workload = workload.with_spike_rates(rates) if rates else assumed.of_workload(workload)
        known[digest] = (own.architecture.chip, workload)
    return known


def _costs(
    spec: StudySpec,
    workloads: Mapping[str, tuple[ChipSettings, Workload]],
    settings: Mapping[str, Any],
) -> dict[str, Costs]:
    """Costs by digest, of the candidates of each chip and number of time steps together."""
    alike: dict[tuple[ChipSettings, int], dict[str, Workload]] = {}
    for digest, (own, workload) in workloads.items():
        chip = tuple((k, v) for k, v in own if k not in settings)
        alike.setdefault((chip, workload.time_steps), {})[digest] = workload
    costed = (_on_chip(spec, chip, own) for (chip, _), own in alike.items())
    return {digest: costs for part in costed for digest, costs in part.items()}


def _on_chip(
    spec: StudySpec, chip: ChipSettings, workloads: Mapping[str, Workload]
) -> dict[str, Costs]:
    ensemble = Ensemble(profile_of(spec, chip))
    metrics = ensemble.profile.estimate_batch(list(workloads.values())).metrics()
    costs = {
        digest: {name: float(values[i]) for name, values in metrics.items()}
        for i, digest in enumerate(workloads)
    }
    for c in (c for c in spec.constraints if c.confidence is not None):
        for digest, workload in workloads.items():
            costs[digest][c.measure] = float(c.bound(ensemble.metrics(workload)[c.metric]))
    return costs


def _with_costs(spec: StudySpec, c: Candidate, costs: Costs) -> Candidate:
    """The candidate with other costs; what was measured for the old chip alone is unknown."""
    kept = {name: value for name, value in c.metrics.items() if _stays(name)}
    metrics = kept | {name: x for name, x in costs.items() if name not in _own(c) | kept.keys()}
    missed = spec.missed_references(metrics)
    violations = spec.known_violations(metrics)
    return replace(c, metrics=metrics, violations=violations, missed_references=missed)


def _own(c: Candidate) -> set[str]:
    """Metrics that only a candidate's training counts; spike rates give an estimate."""
    return set(COUNTED) if c.measured else set()


def _stays(name: str) -> bool:
    """True for a metric that does not depend on the chip."""
    if name in HARDWARE_METRICS:
        return HARDWARE_METRICS[name].chip_free
    hardware = CONFIDENCE in name
    return not hardware and _is_known(name)


def _is_known(name: str) -> bool:
    """True for a metric that costs give, or that is the same on another chip."""
    return name in METRICS and not (METRICS[name].simulated or METRICS[name].of_chip)


def _notes(result: Result, profile: str | None, settings: Mapping[str, Any]) -> tuple[str, ...]:
    spec, notes = result.spec, []
    if profile is not None and spec.hardware.overrides:
        dropped = ", ".join(f"{k} = {v}" for k, v in spec.hardware.overrides.items())
        notes.append(f"the study's own settings do not apply to {profile}: {dropped}")
    if carried := sorted(settings.keys() & spec.hardware.search_space.keys()):
        notes.append(f"every candidate has the given {', '.join(carried)} in place of its own")
    untrained = [c for c in result.candidates if c.archived not in MEASURED]
    if untrained:
        notes.append(
            f"costed at the assumed spike rate {percent(spec.hardware.assumed_rate)}: "
            f"{counted(len(untrained), 'candidate')} without a training"
        )
    unknown = {n for c in result.candidates for n in c.metrics if not _stays(n)}
    if unknown := {n for n in unknown if n not in HARDWARE_METRICS and CONFIDENCE not in n}:
        notes.append(f"unknown on the other chip: {', '.join(sorted(unknown))}")
    return tuple(notes)
