"""When a search ends: its space is exhausted, or its last trainings gained too little."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from nas_service.metrics import MEASURED
from nas_service.samplers.greybox.pareto import dominated_share
from nas_service.searches.input_density import density_of
from nas_service.searches.session import Search
from nas_service.searches.successive_halving import promote_by
from nas_service.store.records import PAID, Archived, Ended, EndKind, Limits, RungResult
from nas_service.store.trial_queue import TrialQueue
from nas_service.study.spec import StudySpec

if TYPE_CHECKING:
    from nas_service.evaluation.remaining import Enumerated

CONTINUED_BY: dict[EndKind, str] = {
    "budget": "`nas resume {0} --trainings N` continues until N trainings are done in all",
    "proposals": "`nas resume {0} --trainings N` continues, N times search.proposals_per_training "
    "proposals in all",
    "time": "a larger search.seconds in its file and `nas run FILE` continue it",
}
"""What continues a study after each end; {0} is its name."""


def end_reason(search: Search) -> str | None:
    """Why the study has ended: nothing is proposed any more and nothing runs; else None."""
    spec, queue = search.spec, TrialQueue(search.store, search.id)
    limits, promote = limits_of(search), promote_by(spec)
    end = queue.end(limits, promote=promote)
    if end is None:
        from nas_service.evaluation.remaining import enumerated  # costs candidates

        stop = stalled(spec, at_first_rung(search)) if spec.search.early_stop else None
        known = search.store.archive(search.id).digests()
        stop = stop or (exhausted(enumerated(spec, density_of(search)), known) if known else None)
        end = queue.end(limits, promote=promote, ended=stop)
    return sentence(search, end) if isinstance(end, Ended) else None


def sentence(search: Search, ended: Ended) -> str:
    """Why a study has ended; after too many failures with the command that continues it.

    Args:
        search: The study.
        ended: Its end.

    Returns:
        One line.
    """
    if ended.kind != "failures":
        return str(ended)
    return f"{ended}; `nas resume {search.name} --forgive` continues without counting them"


def how_to_continue(search: Search) -> str:
    """What continues a study that has reached one of its limits; empty for any other.

    Args:
        search: The study.

    Returns:
        One line with a command.
    """
    ended = TrialQueue(search.store, search.id).end(
        limits_of(search), promote=promote_by(search.spec)
    )
    remedy = CONTINUED_BY.get(ended.kind, "") if isinstance(ended, Ended) else ""
    return remedy.format(search.name)


def limits_of(search: Search, budget: int | None = None) -> Limits:
    """The counts at which the study proposes no more trials.

    Args:
        search: The study.
        budget: Trainings that it may spend; None to read them from the store.

    Returns:
        The limits.
    """
    s = search.spec.search
    budget = search.store.studies.budget(search.id) if budget is None else budget
    return Limits(budget * s.proposals_per_training, s.max_failures, s.max_attempts, s.seconds)


def exhausted(candidates: "Enumerated", known: Container[str]) -> Ended | None:
    """The study's end where all candidates that it could train are known; None where not.

    Args:
        candidates: Those of the space, and those within its budgets.
        known: Digests of the candidates in the archive.

    Returns:
        The end and the number of candidates, or None.
    """
    if candidates.is_exhausted(known):
        return Ended("exhausted", {"candidates": len(candidates.everything)})
    if candidates.is_spent(known):
        return Ended("budgets_exhausted", {"candidates": len(candidates.within)})
    return None


def stalled(spec: StudySpec, archive: Iterable[Archived]) -> Ended | None:
    """The study's end where its last trainings gained too little; None where it continues.

    Trainings are ordered by their trials. Nothing stalls before the hypervolume is above 0.

    Args:
        spec: The study, with the patience and the least relative gain of `search.early_stop`.
        archive: The study's candidates, with successive halving as measured at the first rung.

    Returns:
        The end and its figures, or None.
    """
    stall = spec.search.early_stop
    paid = sorted((row for row in archive if row.outcome in PAID), key=lambda row: row.trial)
    if stall is None or len(paid) <= stall.patience:
        return None
    last = last_epoch(row.metrics for row in _feasible(spec, paid))
    paid = [row for row in paid if epochs(row.metrics) in (0, last)]  # 0: diverged
    before, now = _volume(spec, paid[: -stall.patience]), _volume(spec, paid)
    if not before or now > before * (1 + stall.min_gain):
        return None
    figures = {"hypervolume": now, "trainings": len(paid), "before": before}
    return Ended("stalled", {**figures, "patience": stall.patience})


def at_first_rung(search: Search) -> list[Archived]:
    """The archive; with successive halving each candidate as measured at the first rung, where
    all of them can be compared."""
    archive, first = search.store.archive(search.id).entries(), search.spec.steps[0]
    if search.spec.search.reduction_factor is None:
        return list(archive.values())
    rungs = search.store.archive(search.id).rung_results()
    results = {result.digest: result for result in rungs if result.epochs == first}
    return [_as_at(row, results.get(row.digest)) for row in archive.values()]


def epochs(metrics: Mapping[str, float]) -> int:
    """Epochs after which these metrics were measured; 0 without a training."""
    return int(metrics.get("epochs", 0))


def last_epoch(measured: Iterable[Mapping[str, float]]) -> int:
    """The most epochs after which any of these was measured; 0 for none."""
    return max(map(epochs, measured), default=0)


def _as_at(row: Archived, result: RungResult | None) -> Archived:
    return row if result is None else replace(row, outcome="trained", metrics=result.metrics)


def _volume(spec: StudySpec, archive: Iterable[Archived]) -> float:
    return dominated_share([spec.scaled(row.metrics) for row in _feasible(spec, archive)])


def _feasible(spec: StudySpec, archive: Iterable[Archived]) -> list[Archived]:
    return [row for row in archive if row.outcome in MEASURED and spec.is_feasible(row.metrics)]
