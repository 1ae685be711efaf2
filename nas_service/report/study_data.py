"""Everything that a report says about a study, read from its store once."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import sqlalchemy as sa

from nas_service.errors import NasError, SpecError
from nas_service.metrics import MEASURED
from nas_service.searches import results
from nas_service.searches.candidate import Candidate
from nas_service.searches.finalist import Finalist
from nas_service.searches.results import Result
from nas_service.searches.session import open_search
from nas_service.spaces.architecture import Architecture
from nas_service.statistics import Interval, mean_share
from nas_service.store.records import PAID, Repeat, TrainingFacts
from nas_service.store.store import Store
from nas_service.store.tables import attempts
from nas_service.study.loading import parse_spec
from nas_service.study.spec import StudySpec

BASELINE = "random"  # sampler of a study that others are compared with
FREE = {"name", "seed", "search"}  # in which a baseline may differ


@dataclass(frozen=True)
class StudyData:
    """A study with what its candidates' trainings and its workers have left in the store."""

    result: Result
    facts: Mapping[str, TrainingFacts]  # by digest
    repeats: Mapping[tuple[str, int], Repeat]  # of finalists, by digest and number
    failures: Mapping[int, str]  # reasons, by trial
    worker_s: float  # that workers worked on trials, all together
    data_digest: str
    baselines: tuple[Result, ...]  # random searches for the same goals in the same store

    @classmethod
    def bare(cls, result: Result) -> "StudyData":
        """A result alone, for plots of its candidates."""
        return cls(result, {}, {}, {}, 0.0, "", ())

    @property
    def spec(self) -> StudySpec:
        """The study's specification."""
        return self.result.spec

    @cached_property
    def distinct(self) -> tuple[Candidate, ...]:
        """Each candidate once, in its first trial."""
        return tuple({c.digest: c for c in reversed(self.result.candidates)}.values())[::-1]

    @cached_property
    def parameters(self) -> dict[str, dict[str, int | str]]:
        """The parameters of each candidate that the study's space can propose, by digest."""
        space, known = self.spec.build_space(), {}
        for digest, facts in self.facts.items():
            with suppress(SpecError):
                known[digest] = space.parameters(facts.architecture)
        return known

    def architecture(self, candidate: Candidate) -> Architecture:
        """The architecture of a candidate."""
        return self.facts[candidate.digest].architecture

    @cached_property
    def finalists(self) -> tuple[Finalist, ...]:
        """Candidates that were retrained with several seeds, the best mean accuracy first."""
        first = {c.digest: c for c in self.distinct if c.archived in MEASURED}
        known = {d: c for d, c in first.items() if any(digest == d for digest, _ in self.repeats)}
        made = [Finalist(c, self._repeats_of(d), 0) for d, c in known.items()]
        return tuple(sorted(made, key=lambda f: -_mean(f.accuracies)))

    def _repeats_of(self, digest: str) -> tuple[Repeat, ...]:
        return tuple(self.repeats[key] for key in sorted(self.repeats) if key[0] == digest)

    @cached_property
    def resolution(self) -> float:
        """The smallest difference of two accuracies of this study: about one image's share."""
        known = {c.metrics["accuracy"] for c in self.distinct if "accuracy" in c.metrics}
        known |= {a for f in self.finalists for a in f.accuracies}
        ordered = sorted(known)
        gaps = [b - a for a, b in pairwise(ordered) if b - a > 1e-9]
        return min(gaps, default=0.0)

    def interval(self, finalist: Finalist) -> Interval | None:
        """Interval of a finalist's mean validation accuracy; None for fewer than two repeats."""
        return mean_share(finalist.accuracies, self.resolution)

    def test_interval(self, finalist: Finalist) -> Interval | None:
        """Interval of a finalist's mean test accuracy; None for fewer than two repeats."""
        return mean_share(finalist.test_accuracies, self.resolution)

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Intervals of the mean accuracy of finalists, by digest."""
        known = {f.candidate.digest: self.interval(f) for f in self.finalists}
        return {digest: interval for digest, interval in known.items() if interval is not None}

    @property
    def training_s(self) -> float:
        """Wall-clock seconds of all trainings, those of finalists included."""
        measured = (self.facts[c.digest].seconds for c in self.distinct if c.archived in PAID)
        return sum(measured) + sum(r.evaluation.seconds for r in self.repeats.values())

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the programs that measured the candidates; several are in one text."""
        known: dict[str, dict[str, None]] = {}
        for facts in self.facts.values():
            for name, version in facts.versions.items():
                known.setdefault(name, {})[version] = None
        return {name: ", ".join(versions) for name, versions in known.items()}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def read_data(result: Result) -> StudyData:
    """Reads what a report needs beside the result itself.

    Args:
        result: The study.

    Returns:
        All of it.
    """
    store, number = result.search.store, result.search.id
    return StudyData(
        result,
        store.archive(number).training_facts(),
        store.repeats(number).all(),
        store.leases(number).failures(),
        _worker_seconds(store, number),
        store.studies.get(result.spec.name).data_digest,
        _baselines(result),
    )


def _worker_seconds(store: Store, study_id: int) -> float:
    c = attempts.c
    total = sa.func.sum(c.finished_at - c.started_at)
    with store.transactions.begin() as db:
        finished = (c.study_id == study_id, c.finished_at.is_not(None))
        return float(db.execute(sa.select(total).where(*finished)).scalar_one() or 0.0)


def _baselines(result: Result) -> tuple[Result, ...]:
    """Random searches with the same space, data, chip, training, objectives and budgets.

    A study that cannot be read is none: it is no fault of the study that is reported.
    """
    store, baselines = result.search.store, []
    for name in store.studies.names():
        with suppress(NasError):
            if name != result.spec.name and _is_baseline(store, name, result.spec):
                baselines.append(results.read(open_search(store, name, to_read=True)))
    return tuple(baselines)


def _is_baseline(store: Store, name: str, spec: StudySpec) -> bool:
    text = store.studies.get(name).spec
    if f'"{BASELINE}"' not in text:
        return False
    other = parse_spec(text, f"study {name!r}", stored=True)
    same = other.model_dump(exclude=FREE) == spec.model_dump(exclude=FREE)
    return other.search.sampler == BASELINE and same
