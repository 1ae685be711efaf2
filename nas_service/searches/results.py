"""What a study has found: candidates, the feasible front, hypervolume, counts."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from nas_service.metrics import MEASURED, PROXY, Evaluation
from nas_service.rejection import NO_PATH, PATH, checks_named
from nas_service.samplers import PASSED_OVER
from nas_service.searches.creation import Search, all_digests, exhausted
from nas_service.searches.successive_halving import promote_by
from nas_service.statistics import Interval, spearman
from nas_service.store.store import CONTINUED, PAID, Archived, RungResult
from nas_service.study.spec import StudySpec

BESIDE = ("diverged", "rejected", "cached", "continued", "failed", "running")
PASSED = "passed over by the sampler"
Point = tuple[float, ...]  # objectives scaled to 0 (ideal) .. 1 (reference), to minimise


@dataclass(frozen=True)
class Candidate:
    """One finished trial as a reader sees it."""

    trial: int
    digest: str
    outcome: str  # trained, scored, cached, continued, rejected, diverged
    archived: str  # of the trial that measured it: the same, but for a cached one
    metrics: dict[str, float]  # what is measured, behind the last epoch so far
    violations: dict[str, float]  # of the constraints whose metric is measured
    test_accuracy: float | None
    reason: str = ""  # why it was not trained, or what went wrong
    rejected_by: tuple[str, ...] = ()  # the checks that it failed before training

    @property
    def measured(self) -> bool:
        """True where this trial measured all that the study asks for."""
        return self.outcome in MEASURED

    @property
    def feasible(self) -> bool:
        """Measured, here or as an earlier trial, and within every budget."""
        return self.archived in MEASURED and all(v <= 0 for v in self.violations.values())


@dataclass(frozen=True)
class Correlation:
    """How a proxy ranks the trained candidates, against their accuracy."""

    candidates: int
    spearman: Interval | None  # None for fewer than four candidates, or where all are alike

    def to_json(self) -> dict[str, float | int | None]:
        r = self.spearman
        ends = (None, None, None) if r is None else (r.value, r.low, r.high)
        named = dict(zip(("spearman", "low", "high"), ends, strict=True))
        return {**named, "candidates": self.candidates}

    def __str__(self) -> str:
        if self.spearman is None:
            return f"none yet, {self.candidates} candidates"
        r = self.spearman
        return f"{r.value:+.2f} ({r.low:+.2f} .. {r.high:+.2f}), {self.candidates} candidates"


@dataclass(frozen=True, eq=False)
class Result:
    """A study read once. `front` holds feasible, measured, non-dominated candidates only."""

    spec: StudySpec
    candidates: tuple[Candidate, ...]  # finished ones by trial
    counts: dict[str, int]
    search: Search
    passed_over: dict[str, int] = field(default_factory=dict)  # by the sampler's own checks

    @cached_property
    def rejected_by(self) -> dict[str, int]:
        """Candidates that each budget rejected, most first; one may break several."""
        rejected = (c for c in self.candidates if c.outcome == "rejected")
        return dict(Counter(name for c in rejected for name in c.rejected_by).most_common())

    @cached_property
    def proposals(self) -> dict[str, int]:
        """All proposals by what became of them, each counted once."""
        n = self.counts | {"trained": self.counts["trained"] - self.counts["diverged"]}
        measured = "trained" if self.spec.training.epochs else "scored"
        return {measured: n["trained"]} | {k: n[k] for k in BESIDE}

    @cached_property
    def shares(self) -> dict[str, float]:
        """The same as shares of all; empty where there are none."""
        total = sum(self.proposals.values())
        return {k: n / total for k, n in self.proposals.items()} if total else {}

    @property
    def words(self) -> tuple[str, ...]:
        """Lines for readers: what became of the proposals, and what rejected how many."""
        n = self.proposals
        each = [f"{n[k]} {k} ({100 * x:.3g} %)" for k, x in self.shares.items() if n[k]]
        lines = [f"{sum(n.values())} proposals: {', '.join(each)}" if each else "no proposal yet"]
        for said, counts in (("rejected by", self.rejected_by), (PASSED, self.passed_over)):
            if counts:
                named = {NO_PATH if k == PATH else k: n for k, n in counts.items()}
                lines.append(f"{said}: " + ", ".join(f"{k} {n}" for k, n in named.items()))
        return tuple(lines)

    @cached_property
    def able(self) -> tuple[Candidate, ...]:
        """Feasible candidates as they were measured here, however far they are trained."""
        return tuple(c for c in self.candidates if c.measured and c.feasible)

    @cached_property
    def compared(self) -> tuple[Candidate, ...]:
        """Those of them that are trained the farthest: only equal epochs are compared."""
        farthest = _farthest(c.metrics for c in self.able)
        return tuple(c for c in self.able if _epochs(c.metrics) == farthest)

    @property
    def front_epochs(self) -> int:
        """Behind which the front is measured; 0 where nothing is trained."""
        return _farthest(c.metrics for c in self.able)

    @property
    def full(self) -> bool:
        """True where the front is measured behind the last epoch."""
        return self.front_epochs >= self.spec.training.last

    @property
    def note(self) -> str:
        """What of the feasible candidates the front leaves out, and whether it is final."""
        last, count = self.spec.training.last, f"{len(self.compared)} of {len(self.able)}"
        if self.able and not self.full:
            return (
                f"not full: {count} feasible candidates, after {self.front_epochs} of {last} epochs"
            )
        if len(self.compared) < len(self.able):
            return f"of the {count} feasible candidates that are trained to epoch {last}"
        return ""

    @cached_property
    def rungs(self) -> dict[int, int]:
        """In a study with successive halving: how many candidates have come to each step."""
        if self.spec.search.halving is None:
            return {}
        at = Counter(s.epochs for s in self.search.store.rung_results(self.search.id))
        return {step: at[step] for step in sorted({*at, *self.spec.steps})}

    @property
    def epochs(self) -> dict[str, int]:
        """Epochs that trained candidates took, and that all of them in full would have taken."""
        trained = [c for c in self.candidates if c.outcome == "trained"]
        spent = sum(_epochs(c.metrics) for c in trained)
        return {"trained": spent, "in_full": len(trained) * self.spec.training.last}

    @cached_property
    def front(self) -> tuple[Candidate, ...]:
        """The feasible front of those that are trained the farthest, best first objective first."""
        return self._best(self.compared)

    def _best(self, able: Sequence[Candidate]) -> tuple[Candidate, ...]:
        points = [self.spec.scaled(c.metrics) for c in able]
        best = [c for c, p in zip(able, points, strict=True) if not _dominated(p, points)]
        return tuple(sorted(best, key=lambda c: self.spec.scaled(c.metrics)))

    def best(self, count: int) -> tuple[Candidate, ...]:
        """So many feasible candidates: the front, the front of the others, and so on; those that
        are trained less far behind all others."""
        levels = sorted({_epochs(c.metrics) for c in self.able}, reverse=True)
        groups = ([c for c in self.able if _epochs(c.metrics) == n] for n in levels)
        return tuple(itertools.chain(*(self._in_order(g) for g in groups)))[:count]

    def _in_order(self, rest: Sequence[Candidate]) -> Iterator[Candidate]:
        """The front, the front of the others, and so on."""
        while rest:
            best = self._best(rest)
            yield from best
            taken = {c.trial for c in best}
            rest = [c for c in rest if c.trial not in taken]

    def early(self, top: int | None = None) -> tuple[Candidate, ...]:
        """Those of the front, or of the `top` best, whose training can go on; here all candidates
        are compared, however far they have come. Successive halving says itself who goes on, so
        without `top` there are none."""
        last = self.spec.training.last
        if top is None and self.spec.search.halving is not None:
            return ()
        chosen = self._best(self.able) if top is None else list(self._in_order(self.able))[:top]
        return tuple(c for c in chosen if _epochs(c.metrics) < last)

    @cached_property
    def nearest_misses(self) -> tuple[Candidate, ...]:
        """Up to five infeasible candidates of least total violation; empty if any is feasible."""
        if self.front:
            return ()
        unlike = {c.digest: c for c in reversed(self.candidates)}.values()
        return tuple(sorted(unlike, key=lambda c: (_excess(c), c.trial))[:5])

    def hypervolume_history(self) -> list[tuple[int, float]]:
        """(trial, hypervolume up to it) at each candidate of `compared`; see `hypervolume`.

        With its newest figures, whenever its training went on.
        """
        points = [self.spec.scaled(c.metrics) for c in self.compared]
        return [(c.trial, hypervolume(points[: i + 1])) for i, c in enumerate(self.compared)]

    @property
    def hypervolume(self) -> float:
        return hypervolume([self.spec.scaled(c.metrics) for c in self.front])

    @cached_property
    def proxy_correlation(self) -> dict[str, Correlation]:
        """Each proxy of the study against the accuracy of what was trained.

        Those are the sampler's choice: over the whole space the correlation may be another. Of
        trainings that ended at different epochs the kind that is most frequent counts.
        """
        trained = [c.metrics for c in self.candidates if c.outcome == "trained"]
        alike = Counter(m.get("epochs") for m in trained).most_common(1)
        trained = [m for m in trained if m.get("epochs") == alike[0][0]]
        found = {}
        for name in self.spec.proxies.names:
            both = [(m[PROXY + name], m["accuracy"]) for m in trained if PROXY + name in m]
            scores, truth = [x for x, _ in both], [y for _, y in both]
            found[name] = Correlation(len(both), spearman(scores, truth))
        return found

    def evaluation(self, candidate: Candidate) -> Evaluation:
        """Everything known of a candidate, its hardware breakdown included."""
        found = self.search.store.known(self.search.id, candidate.digest)
        assert found is not None, candidate.digest  # noqa: S101  candidates come from the archive
        return found

    def frame(self) -> list[dict[str, Any]]:
        """One flat row per candidate, ready for a data frame."""
        return [
            {"trial": c.trial, "outcome": c.outcome, "feasible": c.feasible, **c.metrics}
            for c in self.candidates
        ]

    def to_json(self) -> dict[str, Any]:
        """The document of `nas front --json`."""
        spec = self.spec
        return {
            "study": spec.name,
            "objectives": [o.model_dump(exclude={"reference", "ideal"}) for o in spec.objectives],
            "constraints": [c.model_dump(exclude_none=True) for c in spec.constraints],
            "counts": self.counts,
            "shares": self.shares,
            "rejected_by": self.rejected_by,
            "hypervolume": self.hypervolume,
            "front_epochs": self.front_epochs,
            "full": self.full,
            "front": [self._candidate_json(c) for c in self.front],
            "nearest_misses": [self._candidate_json(c) for c in self.nearest_misses],
        }

    def _candidate_json(self, c: Candidate) -> dict[str, Any]:
        document = {
            "trial": c.trial,
            "digest": c.digest,
            "architecture": self.evaluation(c).architecture.to_json(),
            "outcome": c.outcome,
            "trained": c.outcome == "trained",
            "metrics": c.metrics,
            "violations": c.violations,
        } | ({"reason": c.reason} if c.reason else {})
        return document | ({} if c.test_accuracy is None else {"test_accuracy": c.test_accuracy})


def read(search: Search) -> Result:
    """The study as it stands now."""
    store = search.store
    outcomes = store.outcomes(search.id)
    trials = search.study.get_trials(deepcopy=False)
    told = {
        t.number: t.user_attrs for t in trials if t.state.is_finished() and "digest" in t.user_attrs
    }
    archive = store.archived(search.id)
    found = []
    for number, attributes in sorted(told.items()):
        if (row := archive.get(digest := attributes["digest"])) is None:
            continue  # attributes that a stranger wrote
        over = search.spec.known_violations(row.metrics)
        later = CONTINUED if outcomes.get(number) == CONTINUED else "cached"
        outcome = row.outcome if row.trial == number else later
        found.append(
            Candidate(
                number, digest, outcome, row.outcome, row.metrics, over, row.test_accuracy,
                str(attributes.get("reason", "")), _rejected_by(attributes),
            )
        )  # fmt: skip
    passed = [t.user_attrs[PASSED_OVER] for t in trials if PASSED_OVER in t.user_attrs]
    return Result(search.spec, tuple(found), count(outcomes), search, dict(*passed[-1:]))


def _rejected_by(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    if "rejected_by" in attributes:
        return tuple(attributes["rejected_by"])
    return checks_named(str(attributes.get("reason", "")))


def stalled(spec: StudySpec, archive: Iterable[Archived]) -> str:
    """Why a study is to end, if its last trainings brought too little; else empty.

    They are counted by their trials. Nothing stalls before the hypervolume is above 0.
    """
    stall = spec.search.stall
    paid = sorted((r for r in archive if r.outcome in PAID), key=lambda r: r.trial)
    if stall is None or len(paid) <= stall.trainings:
        return ""
    farthest = _farthest(r.metrics for r in _able(spec, paid))
    paid = [r for r in paid if _epochs(r.metrics) in (0, farthest)]  # 0: diverged
    before, now = _volume(spec, paid[: -stall.trainings]), _volume(spec, paid)
    if not before or now > before * (1 + stall.gain):
        return ""
    return (
        f"stalled: hypervolume {now:.4f} after {len(paid)} trainings, "
        f"{before:.4f} before the last {stall.trainings}"
    )


def _volume(spec: StudySpec, archive: Iterable[Archived]) -> float:
    front: list[Point] = []
    for point in sorted(
        {spec.scaled(row.metrics) for row in _able(spec, archive)}
    ):  # what dominates a point comes before it
        if not _dominated(point, front):
            front.append(point)
    return hypervolume(front)


def _able(spec: StudySpec, archive: Iterable[Archived]) -> list[Archived]:
    """Measured ones within every budget."""
    measured = (row for row in archive if row.outcome in MEASURED)
    return [
        row for row in measured if all(v <= 0 for v in spec.known_violations(row.metrics).values())
    ]


def _epochs(metrics: Mapping[str, float]) -> int:
    return int(metrics.get("epochs", 0))


def _farthest(measured: Iterable[Mapping[str, float]]) -> int:
    return max(map(_epochs, measured), default=0)


def at_first_step(search: Search) -> list[Archived]:
    """The archive; in a study with successive halving with what each candidate had at the first
    rung, where all of them can be compared."""
    archive, first = search.store.archived(search.id), search.spec.steps[0]
    if search.spec.search.halving is None:
        return list(archive.values())
    at = {s.digest: s for s in search.store.rung_results(search.id) if s.epochs == first}
    return [_as_it_stood(row, at.get(row.digest)) for row in archive.values()]


def _as_it_stood(row: Archived, standing: RungResult | None) -> Archived:
    if standing is None:
        return row
    return replace(row, outcome="trained", metrics=standing.metrics)


def end(search: Search) -> str | None:
    """Why the study has ended: nothing is proposed any more and nothing runs; else None."""
    limits, store = search.spec.search, search.store
    proposals = store.study(search.name).trainings * limits.proposals_per_training
    spec, archive = search.spec, store.archived(search.id)
    ended = stalled(spec, at_first_step(search)) if limits.stall else ""
    ended = ended or exhausted(all_digests(spec), archive)
    found = store.end(
        search.id,
        proposals,
        limits.max_failures,
        limits.seconds,
        ended,
        promote_by(spec),
    )
    return found or None


def count(outcomes: dict[int, str]) -> dict[str, int]:
    """`trained` counts what was paid from the budget: trainings, the diverged among them, and in
    a search free of training the candidates that were scored.
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
        "running": n["proposing"] + n["training"] + n["waiting"] + n["following"],
    }


def _excess(c: Candidate) -> float:
    return sum(max(0.0, v) for v in c.violations.values())


def _dominated(point: Point, others: Sequence[Point]) -> bool:
    return any(
        other != point and all(a <= b for a, b in zip(other, point, strict=True))
        for other in others
    )


def hypervolume(points: Sequence[Point]) -> float:
    """Share of the box between ideal and reference that the points dominate, 0..1.

    Exact, by slicing along the last objective; meant for fronts of tens of points.
    """
    inside = [tuple(max(0.0, x) for x in p) for p in points if all(x < 1 for x in p)]
    if not inside:
        return 0.0
    if len(inside[0]) == 1:
        return 1 - min(p[0] for p in inside)
    cuts = sorted({p[-1] for p in inside})
    widths = [b - a for a, b in zip(cuts, [*cuts[1:], 1.0], strict=True)]
    slices = ([p[:-1] for p in inside if p[-1] <= cut] for cut in cuts)
    return sum(w * hypervolume(s) for w, s in zip(widths, slices, strict=True))


def dumps(document: Any) -> str:
    return json.dumps(document, indent=2, allow_nan=False)
