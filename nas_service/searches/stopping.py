"""When a search ends: its space is exhausted, or its last trainings brought too little."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace

from nas_service.metrics import MEASURED
from nas_service.samplers.greybox.pareto import dominated_share
from nas_service.searches.session import Search
from nas_service.searches.successive_halving import promote_by
from nas_service.store.store import PAID, Archived, RungResult
from nas_service.study.spec import StudySpec

ENUMERABLE = 4096  # genotypes: up to this size a space is enumerated to see when it is exhausted


def end_reason(search: Search) -> str | None:
    """Why the study has ended: nothing is proposed any more and nothing runs; else None."""
    spec, store = search.spec, search.store
    limits, archive = spec.search, store.archived(search.id)
    proposals = store.study(search.name).trainings * limits.proposals_per_training
    stop = stalled(spec, at_first_rung(search)) if limits.early_stop else ""
    stop = stop or exhausted(all_digests(spec), archive)
    reason = store.end(
        search.id, proposals, limits.max_failures, limits.seconds, stop, promote_by(spec)
    )
    return reason or None


def all_digests(spec: StudySpec) -> set[str]:
    """Digests of all candidates of a small space; empty for a larger one."""
    space = spec.build_space()
    return {a.digest for a in space} if space.size <= ENUMERABLE else set()


def exhausted(digests: set[str], known: Container[str]) -> str:
    """The sentence that all candidates of a small space are known; empty where they are not.

    Args:
        digests: What `all_digests` returned.
        known: Digests of the candidates in the archive.
    """
    if not digests or not all(digest in known for digest in digests):
        return ""
    return f"space exhausted: all {len(digests)} different candidates are known"


def stalled(spec: StudySpec, archive: Iterable[Archived]) -> str:
    """The sentence that a study's last trainings brought too little; empty where it continues.

    Trainings are ordered by their trials. Nothing stalls before the hypervolume is above 0.
    """
    stall = spec.search.early_stop
    paid = sorted((row for row in archive if row.outcome in PAID), key=lambda row: row.trial)
    if stall is None or len(paid) <= stall.patience:
        return ""
    last = last_epoch(row.metrics for row in _feasible(spec, paid))
    paid = [row for row in paid if epochs(row.metrics) in (0, last)]  # 0: diverged
    before, now = _volume(spec, paid[: -stall.patience]), _volume(spec, paid)
    if not before or now > before * (1 + stall.min_gain):
        return ""
    return (
        f"stalled: hypervolume {now:.4f} after {len(paid)} trainings, "
        f"{before:.4f} before the last {stall.patience}"
    )


def at_first_rung(search: Search) -> list[Archived]:
    """The archive; with successive halving each candidate as measured at the first rung, where
    all of them can be compared."""
    archive, first = search.store.archived(search.id), search.spec.steps[0]
    if search.spec.search.reduction_factor is None:
        return list(archive.values())
    rungs = search.store.rung_results(search.id)
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
    measured = (row for row in archive if row.outcome in MEASURED)
    return [
        row for row in measured if all(v <= 0 for v in spec.known_violations(row.metrics).values())
    ]
