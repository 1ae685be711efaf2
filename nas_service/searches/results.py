"""The result of a study so far: its candidates, the feasible front, hypervolume and counts."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_service.metrics import Evaluation
from nas_service.samplers import PASSED_OVER
from nas_service.samplers.greybox.pareto import covered, dominated_share, front_numbers, on_front
from nas_service.searches.candidate import Candidate, Loader
from nas_service.searches.infeasible import Infeasible, infeasible
from nas_service.searches.notebook import NotebookView
from nas_service.searches.proxy_correlation import Correlation, correlations
from nas_service.searches.session import DIGEST, Search
from nas_service.searches.stopping import epochs, last_epoch
from nas_service.spaces.architecture import Architecture
from nas_service.store.records import CONTINUED, PAID, Archived
from nas_service.store.trial_reader import TrialAttributes, read_attributes
from nas_service.study.rejection import NO_PATH, PATH, total_violation
from nas_service.study.spec import StudySpec
from nas_service.text import metric, metric_label, percent

READ = (DIGEST, "reason", "rejected_by", PASSED_OVER)  # attributes of trials
BESIDE = ("diverged", "rejected", "cached", "continued", "failed", "running")
FEW = 10  # candidates below a reference that take the place of an empty front
WORDS = {"cached": "measured before", "running": "unfinished"}  # for people; else the outcome
PASSED = "passed over by the sampler"


@dataclass(frozen=True, eq=False, repr=False)
class Result(NotebookView):
    """A study as it was when `read` was called.

    `front` holds non-dominated candidates only that are measured, feasible, and at least as good
    as the reference of every objective.
    """

    spec: StudySpec
    candidates: tuple[Candidate, ...]  # of the finished trials, by trial
    counts: dict[str, int]
    search: Search
    passed_over: dict[str, int] = field(default_factory=dict)  # by the check of the sampler

    @cached_property
    def rejected_by(self) -> dict[str, int]:
        """Number of candidates that each check rejected, most first; one may fail several."""
        rejected = (c for c in self.candidates if c.outcome == "rejected")
        return dict(Counter(name for c in rejected for name in c.rejected_by).most_common())

    @cached_property
    def proposals(self) -> dict[str, int]:
        """Number of proposals by outcome, each counted once."""
        n = self.counts | {"trained": self.counts["trained"] - self.counts["diverged"]}
        measured = "trained" if self.spec.training.epochs else "scored"
        return {measured: n["trained"]} | {k: n[k] for k in BESIDE}

    @cached_property
    def shares(self) -> dict[str, float]:
        """`proposals` as shares of all, 0..1; empty where there are none."""
        total = sum(self.proposals.values())
        return {k: n / total for k, n in self.proposals.items()} if total else {}

    @property
    def summary(self) -> tuple[str, ...]:
        """Lines for a person: proposals by outcome, and how many each check rejected."""
        n = self.proposals
        each = [f"{n[k]} {WORDS.get(k, k)} ({percent(x)})" for k, x in self.shares.items() if n[k]]
        lines = [f"{sum(n.values())} proposals: {', '.join(each)}" if each else "no proposal yet"]
        lines += _by_check("rejected by", self.rejected_by)
        return (*lines, *_by_check(PASSED, self.passed_over))

    @property
    def nothing_known(self) -> str:
        """Why there is no candidate yet, with a command; empty where there are some."""
        name, failed, running = self.spec.name, self.counts["failed"], self.counts["running"]
        if self.candidates:
            return ""
        if not failed + running:
            return f"no trial yet: `nas resume {name}` or `nas worker --study {name}` begins"
        why = f" (`nas status {name}` says why)" if failed else ""
        return f"no trial has a result yet: {failed} failed{why}, {running} unfinished"

    @cached_property
    def feasible(self) -> tuple[Candidate, ...]:
        """Feasible candidates of the trials that measured them, after any number of epochs."""
        return tuple(c for c in self.candidates if c.measured and c.feasible)

    @cached_property
    def same_epoch(self) -> tuple[Candidate, ...]:
        """The feasible candidates with the most epochs: only equal epochs are compared."""
        return tuple(c for c in self.feasible if epochs(c.metrics) == self.front_epochs)

    @cached_property
    def front_epochs(self) -> int:
        """Epochs after which the front is measured; 0 where nothing is trained."""
        return last_epoch(c.metrics for c in self.feasible)

    @property
    def front_is_final(self) -> bool:
        """True where the front is measured after the study's last epoch."""
        return self.front_epochs >= self.spec.training.last

    @property
    def note(self) -> str:
        """Which feasible candidates the front leaves out, and whether it is final; may be empty."""
        last, count = self.spec.training.last, f"{len(self.same_epoch)} of {len(self.feasible)}"
        if self.feasible and not self.front_is_final:
            return (
                f"not full: {count} feasible candidates, after {self.front_epochs} of {last} epochs"
            )
        if len(self.same_epoch) < len(self.feasible):
            return f"of the {count} feasible candidates that are trained to epoch {last}"
        return ""

    @property
    def below_note(self) -> str:
        """How many feasible candidates are below which reference; empty without any."""
        if not self.below_reference:
            return ""
        missed = {name for c in self.below_reference for name in c.missed_references}
        worst = [o for o in self.spec.objectives if o.metric in missed]
        values = (metric(o.metric, self.spec.reference(o)) for o in worst)
        each = [f"{metric_label(o.metric)} {x}" for o, x in zip(worst, values, strict=True)]
        count = f"{len(self.below_reference)} feasible"
        return f"{count}, below reference ({', '.join(each)}): not on the front"

    @cached_property
    def rungs(self) -> dict[int, int]:
        """With successive halving: number of candidates that were measured at each rung."""
        if self.spec.search.reduction_factor is None:
            return {}
        at = Counter(s.epochs for s in self.search.store.archive(self.search.id).rung_results())
        return {step: at[step] for step in sorted({*at, *self.spec.steps})}

    @property
    def epochs(self) -> dict[str, int]:
        """Epochs that the trained candidates took, and would have taken to the last epoch."""
        trained = [c for c in self.candidates if c.outcome == "trained"]
        spent = sum(epochs(c.metrics) for c in trained)
        return {"trained": spent, "in_full": len(trained) * self.spec.training.last}

    @cached_property
    def front(self) -> tuple[Candidate, ...]:
        """The front of `same_epoch`, the best in the first objective first."""
        return self._front_of([c for c in self.same_epoch if not c.below_reference])

    @cached_property
    def below_reference(self) -> tuple[Candidate, ...]:
        """Those of `same_epoch` that are worse than the reference of an objective, ordered as the
        front is. None of them is on the front or counts for the hypervolume."""
        below = [c for c in self.same_epoch if c.below_reference]
        return tuple(sorted(below, key=lambda c: self.spec.scaled(c.metrics)))

    @property
    def best_known(self) -> tuple[Candidate, ...]:
        """The front; where it is empty up to ten below a reference, else the nearest misses."""
        return self.front or self.below_reference[:FEW] or self.nearest_misses

    @cached_property
    def front_trials(self) -> frozenset[int]:
        """Numbers of the trials on the front."""
        return frozenset(c.trial for c in self.front)

    def _points(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """Their objectives [N, M] from 0 at the ideal to 1 at the reference."""
        points = [self.spec.scaled(c.metrics) for c in candidates]
        return np.array(points, dtype=np.float64).reshape(-1, len(self.spec.objectives))

    def _front_of(self, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        points = self._points(candidates)
        front = np.flatnonzero(on_front(points)).tolist()
        return tuple(candidates[n] for n in sorted(front, key=lambda n: tuple(points[n])))

    def best(self, count: int) -> tuple[Candidate, ...]:
        """Up to `count` feasible candidates front after front, those with more epochs first.

        Those below a reference come last.
        """
        levels = sorted({_level(c) for c in self.feasible})
        groups = ([c for c in self.feasible if _level(c) == n] for n in levels)
        return tuple(itertools.chain(*map(self._front_by_front, groups)))[:count]

    def _front_by_front(self, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        points = self._points(candidates)
        keys = np.column_stack([front_numbers(points), points])
        return tuple(candidates[n] for n in np.lexsort(keys.T[::-1]))

    def unfinished(self, top: int | None = None) -> tuple[Candidate, ...]:
        """The best candidates whose training has not reached the study's last epoch.

        All feasible candidates are compared, after any number of epochs. Those below a reference
        come last, and count as a front only where all are: longer trainings may lift them.

        Args:
            top: How many of the best to consider, front after front; without it the front, or in
                a study with successive halving, which promotes candidates itself, none.

        Returns:
            These candidates, the best first.
        """
        last = self.spec.training.last
        if top is None and self.spec.search.reduction_factor is not None:
            return ()
        above = [c for c in self.feasible if not c.below_reference]
        below = [c for c in self.feasible if c.below_reference]
        if top is None:
            best = self._front_of(above or below)
        else:
            best = (*self._front_by_front(above), *self._front_by_front(below))[:top]
        return tuple(c for c in best if epochs(c.metrics) < last)

    @cached_property
    def nearest_misses(self) -> tuple[Candidate, ...]:
        """Up to five candidates of least total violation; empty where one is feasible."""
        if self.feasible:
            return ()
        distinct = {c.digest: c for c in reversed(self.candidates)}.values()
        return tuple(sorted(distinct, key=_distance)[:5])

    @cached_property
    def infeasible(self) -> Infeasible | None:
        """Why nothing is feasible; None where a candidate is."""
        return None if self.feasible else infeasible(self.spec, self.candidates, self.architectures)

    def hypervolume_history(self) -> list[tuple[int, float]]:
        """(trial, `hypervolume` of the candidates up to it) of each candidate of `same_epoch`.

        A candidate counts with its newest metrics, also where its training was continued later.
        """
        front, volume, history = self._points(()), 0.0, []
        for candidate, point in zip(self.same_epoch, self._points(self.same_epoch), strict=True):
            if not covered(point[None], front)[0]:
                front = np.concatenate([front[~covered(front, point[None])], point[None]])
                volume = dominated_share(front)
            history.append((candidate.trial, volume))
        return history

    @cached_property
    def hypervolume(self) -> float:
        """Share of the box between ideal and reference that the front dominates, 0..1."""
        return dominated_share(self._points(self.front))

    @cached_property
    def proxy_correlation(self) -> dict[str, Correlation]:
        """Each proxy of the study against the accuracy of the trained candidates."""
        return correlations(self.spec.proxies.names, self.candidates)

    def evaluation(self, candidate: Candidate) -> Evaluation:
        """Everything that is known of a candidate, its hardware breakdown included."""
        evaluation = self.search.store.archive(self.search.id).evaluation(candidate.digest)
        assert evaluation is not None, candidate.digest  # noqa: S101  it comes from the archive
        return evaluation

    def to_json(self) -> dict[str, Any]:
        """The document of `nas front --json`."""
        spec = self.spec
        return {
            "study": spec.name,
            "objectives": spec.objectives_json(),
            "constraints": [c.model_dump(exclude_none=True) for c in spec.constraints],
            "counts": self.counts,
            "shares": self.shares,
            "rejected_by": self.rejected_by,
            "hypervolume": self.hypervolume,
            "front_epochs": self.front_epochs,
            "full": self.front_is_final,
            "front": self._candidates_json(self.front),
            "below_reference": self._candidates_json(self.below_reference),
            "nearest_misses": self._candidates_json(self.nearest_misses),
            "infeasible": self.infeasible and self.infeasible.to_json(),
        }

    def _candidates_json(self, candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
        known = self.architectures(candidates)
        return [_candidate_json(c, known[c.digest]) for c in candidates]

    def architectures(self, candidates: Iterable[Candidate]) -> dict[str, Architecture]:
        """The architectures of candidates, by digest."""
        digests = (c.digest for c in candidates)
        return self.search.store.archive(self.search.id).architectures(digests)


def read(search: Search, loader: Loader | None = None) -> Result:
    """Reads the study from its store; nothing in the result changes afterwards.

    Args:
        search: The study.
        loader: Loads the networks of its candidates, for `Candidate.load`.

    Returns:
        The result.
    """
    outcomes = search.store.leases(search.id).outcomes()
    archive = search.store.archive(search.id).entries()
    with search.store.transactions.begin() as db:
        trials = read_attributes(db, search.id, READ)
    candidates = tuple(
        _candidate(search.spec, trial, outcomes.get(trial.number), archive[digest], loader)
        for trial in trials
        # a digest that is not in the archive was written by another program
        if trial.is_finished and (digest := trial.attributes.get(DIGEST)) in archive
    )
    passed_over = [t.attributes[PASSED_OVER] for t in trials if PASSED_OVER in t.attributes]
    return Result(search.spec, candidates, count(outcomes), search, dict(*passed_over[-1:]))


def _candidate(
    spec: StudySpec,
    trial: TrialAttributes,
    outcome: str | None,
    row: Archived,
    loader: Loader | None,
) -> Candidate:
    if row.trial == trial.number:
        outcome = row.outcome
    elif outcome != CONTINUED:
        outcome = "cached"
    return Candidate(
        trial.number,
        row.digest,
        outcome,
        row.outcome,
        row.metrics,
        spec.known_violations(row.metrics),
        row.test_accuracy,
        str(trial.attributes.get("reason", "")),
        tuple(trial.attributes.get("rejected_by", ())),
        spec.missed_references(row.metrics),
        loader,
    )


def count(outcomes: dict[int, str]) -> dict[str, int]:
    """Number of trials by outcome.

    `trained` counts what was paid from the budget: trainings, the diverged among them, and in a
    search free of training the candidates that were scored.

    Args:
        outcomes: `Store.outcomes`, by trial.

    Returns:
        Outcome -> number of trials; `complete` is the sum.
    """
    n = Counter(outcomes.values())
    trained = sum(n[outcome] for outcome in PAID)
    return {
        "complete": trained + n["rejected"] + n["cached"] + n[CONTINUED],
        "trained": trained,
        "diverged": n["diverged"],
        "rejected": n["rejected"],
        "cached": n["cached"],
        "continued": n[CONTINUED],
        "failed": n["failed"],
        "running": n["proposing"] + n["training"] + n["pending"] + n["awaiting_duplicate"],
    }


def _candidate_json(c: Candidate, architecture: Architecture) -> dict[str, Any]:
    document = {
        "trial": c.trial,
        "digest": c.digest,
        "architecture": architecture.to_json(),
        "outcome": c.outcome,
        "trained": c.outcome == "trained",
        "metrics": c.metrics,
        "violations": c.violations,
        "below_reference": list(c.missed_references) if c.feasible else [],
    } | ({"reason": c.reason} if c.reason else {})
    return document | ({} if c.test_accuracy is None else {"test_accuracy": c.test_accuracy})


def _level(c: Candidate) -> tuple[bool, int]:
    """Sorts candidates below a reference after all others, then those with more epochs first."""
    return c.below_reference, -epochs(c.metrics)


def _by_check(title: str, counts: Mapping[str, int]) -> list[str]:
    """One line with a number for each check, where there are any."""
    named = {NO_PATH if check == PATH else check: n for check, n in counts.items()}
    return [f"{title}: " + ", ".join(f"{k} {n}" for k, n in named.items())] if named else []


def _distance(c: Candidate) -> tuple[bool, float, int]:
    """How far a candidate is from the budgets; one without a path is farthest."""
    return PATH in c.rejected_by, float(total_violation(c.violations.values())), c.trial
