"""Finalists trained in full with several seeds, and which of their differences are real.

Each repeat is decided by (study seed, the finalist's digest, its number). Any number of processes
train beside each other: a lock on each repeat ends with the process that holds it. Test images
are read when all that was asked for is trained.
"""

import fcntl
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nas_service.errors import SpecError, StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import MEASURED, measure
from nas_service.searches.results import Candidate, Result
from nas_service.searches.session import Search
from nas_service.statistics import LEVEL, Interval, difference, holm, mean
from nas_service.store.store import Repeat
from nas_service.study.spec import StudySpec

WAIT_s = 0.3  # between two looks for a repeat that another process trains


@dataclass(frozen=True)
class Finalist:
    """A candidate with its repeats, by number; None where one is missing."""

    candidate: Candidate
    repeats: tuple[Repeat | None, ...]
    within: int  # repeats that keep every budget of the study

    @property
    def trained(self) -> list[Repeat]:
        """Those that did not diverge."""
        return [r for r in self.repeats if r is not None and r.evaluation.trained]

    @property
    def accuracies(self) -> list[float]:
        """On validation images, 0..1, of those that did not diverge."""
        return [r.evaluation.accuracy for r in self.trained if r.evaluation.accuracy is not None]

    @property
    def test_accuracies(self) -> list[float]:
        return [r.test_accuracy for r in self.trained if r.test_accuracy is not None]

    @property
    def diverged(self) -> int:
        return sum(r is not None and not r.evaluation.trained for r in self.repeats)


@dataclass(frozen=True)
class Comparison:
    """Of two finalists, by their trials: the first has the larger mean of validation accuracy."""

    first: int
    second: int
    difference: Interval | None  # at the level at which it is tested; None where one has no spread
    p: float | None  # corrected
    level: float | None

    @property
    def verdict(self) -> str:
        if self.difference is None or not self.difference.excludes_zero:
            return "not told apart"
        return f"{self.first} > {self.second}"


@dataclass(frozen=True)
class Retraining:
    """What was found, with what it was measured under."""

    spec: StudySpec
    seeds: int
    finalists: tuple[Finalist, ...]  # best mean of validation accuracy first
    comparisons: tuple[Comparison, ...]
    least: tuple[float, float]  # one validation image, one test image, as shares

    def interval(self, finalist: Finalist) -> Interval | None:
        """Of the mean validation accuracy."""
        return mean(finalist.accuracies, self.least[0])

    def test_interval(self, finalist: Finalist) -> Interval | None:
        return mean(finalist.test_accuracies, self.least[1])

    def to_json(self) -> dict[str, Any]:
        comparisons = [asdict(c) | {"verdict": c.verdict} for c in self.comparisons]
        return {
            "study": self.spec.name,
            "epochs": self.spec.training.epochs,
            "seeds": self.seeds,
            "level": LEVEL,
            "finalists": [self._finalist_json(f) for f in self.finalists],
            "comparisons": comparisons,
        }

    def _finalist_json(self, f: Finalist) -> dict[str, Any]:
        def ends(interval: Interval | None) -> dict[str, float] | None:
            return None if interval is None else asdict(interval)

        return {
            "trial": f.candidate.trial,
            "digest": f.candidate.digest,
            "accuracy": ends(self.interval(f)),
            "accuracies": [None if r is None else r.evaluation.accuracy for r in f.repeats],
            "test_accuracy": ends(self.test_interval(f)),
            "test_accuracies": [None if r is None else r.test_accuracy for r in f.repeats],
            "seeds": [None if r is None else r.evaluation.seed for r in f.repeats],
            "within_budgets": f.within,
            "diverged": f.diverged,
        }


def chosen(
    result: Result, top: int | None = None, trials: Sequence[int] = ()
) -> tuple[Candidate, ...]:
    """The feasible front, the `top` best front after front, or the trials that are named.

    StudyError where there is none, or a trial has measured nothing.
    """
    if not trials:
        found = result.front if top is None else result.best(top)
        if not found:
            raise StudyError(f"study {result.spec.name!r} has no feasible candidate to retrain")
        return found
    known = {c.trial: c for c in result.candidates if c.archived in MEASURED}
    if missing := [n for n in trials if n not in known]:
        raise StudyError(f"study {result.spec.name!r}: trial {missing[0]} has measured nothing")
    return tuple({known[n].digest: known[n] for n in trials}.values())


def in_full(spec: StudySpec) -> StudySpec:
    """The study with every training from scratch to the last epoch; SpecError without epochs."""
    if spec.training.epochs == 0:
        raise SpecError("training.epochs = 0: there is no training to repeat")
    whole = {"until": None, "rungs": (), "inherit": False}
    return spec.model_copy(update={"training": spec.training.model_copy(update=whole)})


def repeat_seed(seed: int, digest: str, number: int) -> int:
    """Of repeat `number` of a finalist: 31 bits, unlike those of trials and other repeats."""
    entropy = (seed, int(digest, 16), number)
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


def left(search: Search, candidates: Sequence[Candidate], seeds: int) -> int:
    """Repeats that are not in the store."""
    kept = search.store.repeats(search.id)
    return sum((c.digest, n) not in kept for c in candidates for n in range(seeds))


def train(
    search: Search,
    bench: Evaluator,
    candidates: Sequence[Candidate],
    seeds: int,
    check_interrupt: Callable[[], None] = lambda: None,
    said: Callable[[str], None] = lambda text: None,
) -> None:
    """Trains every repeat that is not in the store; returns when all of them are.

    What another process has in hand comes last. A training that was killed goes on behind its
    last epoch. `check_interrupt` is called between batches and may raise.
    """
    bench = replace(bench, spec=in_full(bench.spec))
    left = list(itertools.product(range(seeds), candidates))
    while left:
        check_interrupt()
        left = [
            (number, candidate)
            for number, candidate in left
            if not _done(search, bench, candidate, number, check_interrupt, said)
        ]
        time.sleep(WAIT_s if left else 0)


def _done(
    search: Search,
    bench: Evaluator,
    candidate: Candidate,
    number: int,
    check_interrupt: Callable[[], None],
    said: Callable[[str], None],
) -> bool:
    """False where another process has the repeat in hand; trains it where none has."""
    with _locked(_weights(search, candidate.digest, number)) as mine:
        if mine and not search.store.has_repeat(search.id, candidate.digest, number):
            said(_train_one(search, bench, candidate, number, check_interrupt))
        return mine


def _train_one(
    search: Search,
    bench: Evaluator,
    candidate: Candidate,
    number: int,
    check_interrupt: Callable[[], None],
) -> str:
    """Trains and keeps one repeat; returns a line about it."""
    known = search.store.known(search.id, candidate.digest)
    assert known is not None, candidate.digest  # noqa: S101  candidates come from the archive
    seed = repeat_seed(search.spec.seed, candidate.digest, number)
    weights = _weights(search, candidate.digest, number)
    found = bench.train(bench.screen(known.architecture, seed), weights, check_interrupt)
    search.store.keep_repeat(search.id, number, found)
    bench.delete_checkpoint(found, weights)
    accuracy = found.reason if found.accuracy is None else f"accuracy {found.accuracy:.4f}"
    return f"trial {candidate.trial}, repeat {number + 1}: {accuracy} in {found.seconds:.1f} s"


def _weights(search: Search, digest: str, number: int) -> Path:
    """Where the weights of a repeat are kept, beside those of the search."""
    return search.weights(digest).with_suffix(f".repeat{number}.safetensors")


@contextmanager
def _locked(weights: Path) -> Iterator[bool]:
    """False where another process has the lock, which ends with it."""
    path = weights.with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def measure_test(
    search: Search, bench: Evaluator, candidates: Sequence[Candidate], seeds: int
) -> list[Path]:
    """Test accuracy of every repeat that has none; returns the weights that are not here."""
    found = search.store.repeats(search.id)
    missing = []
    for candidate, number in itertools.product(candidates, range(seeds)):
        repeat = found[candidate.digest, number]
        if repeat.test_accuracy is not None or not repeat.evaluation.trained:
            continue
        weights = _weights(search, candidate.digest, number)
        if not weights.is_file():
            missing.append(weights)
            continue
        value = bench.test_accuracy(repeat.evaluation.architecture, weights)
        search.store.keep_repeat_test(search.id, candidate.digest, number, value)
    return missing


def read(
    search: Search, bench: Evaluator, candidates: Sequence[Candidate], seeds: int
) -> Retraining:
    """What the store holds of these finalists."""
    kept, spec = search.store.repeats(search.id), search.spec
    found = []
    for c in candidates:
        repeats = tuple(kept.get((c.digest, n)) for n in range(seeds))
        within = sum(r is not None and _within(spec, r) for r in repeats)
        found.append(Finalist(c, repeats, within))
    found.sort(key=lambda f: -float(np.mean(f.accuracies)) if f.accuracies else 1.0)
    test = bench.images.test(min(spec.space.time_steps))
    least = (1 / len(bench.images.data.validation), 1 / len(test))
    compared = comparisons([(f.candidate.trial, f.accuracies) for f in found], least[0])
    return Retraining(spec, seeds, tuple(found), compared, least)


def _within(spec: StudySpec, repeat: Repeat) -> bool:
    over = spec.known_violations(measure(repeat.evaluation))
    return repeat.evaluation.trained and all(v <= 0 for v in over.values())


def comparisons(
    samples: Sequence[tuple[int, Sequence[float]]], least: float
) -> tuple[Comparison, ...]:
    """All pairs of (trial, accuracies), best mean first, by Welch's test with Holm's correction.

    Repeats of two finalists share no seed, so they are not paired.
    """
    pairs = list(itertools.combinations(samples, 2))
    differences = [difference(a, b, least) for (_, a), (_, b) in pairs]
    tested = iter(holm([d.p for d in differences if d is not None]))
    found = []
    for ((first, _), (second, _)), d in zip(pairs, differences, strict=True):
        p, level = next(tested) if d is not None else (None, None)
        interval = None if d is None or level is None else d.interval(level)
        found.append(Comparison(first, second, interval, p, level))
    return tuple(found)
