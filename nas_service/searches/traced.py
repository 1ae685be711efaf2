"""Energies of a study's candidates counted in their recorded inputs, on two chips."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hw_models import HARDWARE_METRICS, Profile
from nas_service.errors import DataError
from nas_service.evaluation import traces
from nas_service.evaluation.screening import profile_of, workload_cache_of
from nas_service.searches.candidate import Candidate
from nas_service.searches.results import Result
from nas_service.searches.weights import explain_missing
from nas_service.spaces.architecture import ChipSettings
from nas_service.study.spec import StudySpec

COUNTED = {n for n, m in HARDWARE_METRICS.items() if m.grows_with_rate and not m.chip_free}
UNRECORDED = 'the study records no traces ([hardware] record = "traces"): costs are at spike rates'


@dataclass(frozen=True)
class Traced:
    """Costs of a candidate whose events were counted in what its layers have read."""

    samples: int  # validation samples that were recorded
    before: dict[str, float]  # by metric, of those that depend on spikes
    after: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class TracedCosts:
    """The candidates with traces on this machine, and why others have none."""

    by_digest: Mapping[str, Traced]
    note: str = ""


def count(
    result: Result, spec: StudySpec, candidates: Sequence[Candidate], settings: Iterable[str]
) -> TracedCosts:
    """Counts events in the traces of some candidates.

    Args:
        result: The study.
        spec: The same on the other chip.
        candidates: Of the study.
        settings: Settings of the chip that replace those that candidates carry.

    Returns:
        Costs on both chips, of those whose traces can be read.
    """
    if result.spec.hardware.record != "traces":
        return TracedCosts({}, UNRECORDED)
    counting, counted = _Counting(result, spec, frozenset(settings)), dict[str, Traced]()
    missing: list[tuple[Candidate, str]] = []
    for candidate in candidates:
        try:
            if (traced := counting.costs(candidate)) is None:
                missing.append((candidate, ""))
            else:
                counted[candidate.digest] = traced
        except DataError as error:
            missing.append((candidate, str(error)))
    if not missing:
        return TracedCosts(counted)
    reason = missing[0][1] or counting.reason(missing[0][0])
    share = f"{len(missing)} of the {len(candidates)} candidates of the fronts"
    return TracedCosts(counted, f"no traces of {share}: {reason}")


@dataclass(frozen=True, eq=False)
class _Counting:
    """Counts events on both chips of a candidate."""

    result: Result
    after: StudySpec
    replaced: frozenset[str]  # settings of the chip that candidates lose
    _profiles: dict[tuple[bool, ChipSettings], Profile] = field(default_factory=dict)

    def costs(self, candidate: Candidate) -> Traced | None:
        """Costs of a candidate; None where there is no file, DataError for one that is damaged."""
        path = self._path(candidate)
        if not path.is_file():
            return None
        evaluation = self.result.evaluation(candidate)
        workload = workload_cache_of(self.after).workload(evaluation.architecture)
        recorded = traces.load(path, workload, evaluation)
        chip = evaluation.architecture.chip
        own = tuple((key, value) for key, value in chip if key not in self.replaced)
        profiles = self._profile(self.result.spec, chip), self._profile(self.after, own)
        reports = (profile.estimate(workload, recorded.inputs) for profile in profiles)
        before, after = (
            {n: v for n, v in report.metrics().items() if n in COUNTED} for report in reports
        )
        return Traced(recorded.samples, before, after)

    def reason(self, candidate: Candidate) -> str:
        """Why there is no file of a candidate's traces."""
        trial, evaluation = f"trial {candidate.trial}", self.result.evaluation(candidate)
        if not evaluation.trained:
            return f"{trial} was not trained"
        workload = workload_cache_of(self.after).workload(evaluation.architecture)
        if not traces.samples_within(workload):
            return f"{trial}: one sample takes more than {traces.LIMIT}"
        return f"{trial}: {explain_missing(self.result.search, candidate.digest, what='traces')}"

    def _path(self, candidate: Candidate) -> Path:
        return traces.path_of(self.result.search.weights(candidate.digest))

    def _profile(self, spec: StudySpec, chip: ChipSettings) -> Profile:
        key = spec is self.after, chip
        if key not in self._profiles:
            self._profiles[key] = profile_of(spec, chip)
        return self._profiles[key]
