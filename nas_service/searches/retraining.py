"""Finalists trained in full with several seeds, and which of their differences are significant.

A repeat is one such training; its seed follows from the study's seed, the finalist's digest and
the repeat's number. Any number of processes train side by side: each locks the repeat that it
trains, and the lock ends with the process. Test images are read once all repeats are trained.
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

from nas_service.errors import DataError, SpecError, StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.training_run import demand_own
from nas_service.metrics import MEASURED, measure
from nas_service.searches.candidate import Candidate
from nas_service.searches.finalist import Finalist
from nas_service.searches.results import Result
from nas_service.searches.session import Search
from nas_service.statistics import LEVEL, Interval, difference, holm, mean_share
from nas_service.store.records import Repeat
from nas_service.study.spec import StudySpec
from nas_service.text import duration, percent

WAIT_s = 0.3  # before repeats that other processes train are checked again


@dataclass(frozen=True)
class Comparison:
    """Two finalists by their trials; the first has the larger mean validation accuracy."""

    first: int
    second: int
    difference: Interval | None  # of the means, at `level`; None where a spread is unknown
    p: float | None  # corrected for the number of comparisons
    level: float | None  # at which the difference is tested

    @property
    def verdict(self) -> str:
        """Which finalist is better, where the difference is significant."""
        if self.difference is None or not self.difference.excludes_zero:
            return "no significant difference"
        return f"{self.first} > {self.second}"


@dataclass(frozen=True)
class Retraining:
    """All finalists of one study, retrained with equally many seeds, and their comparisons."""

    spec: StudySpec
    seeds: int
    finalists: tuple[Finalist, ...]  # best mean of validation accuracy first
    comparisons: tuple[Comparison, ...]
    resolution: tuple[float, float]  # one image's share of the validation and the test images

    def interval(self, finalist: Finalist) -> Interval | None:
        """Interval of a finalist's mean validation accuracy; None for fewer than two repeats."""
        return mean_share(finalist.accuracies, self.resolution[0])

    def test_interval(self, finalist: Finalist) -> Interval | None:
        """Interval of a finalist's mean test accuracy; None for fewer than two repeats."""
        return mean_share(finalist.test_accuracies, self.resolution[1])

    def to_json(self) -> dict[str, Any]:
        """The document of `nas retrain --json`."""
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


def choose_finalists(
    result: Result, top: int | None = None, trials: Sequence[int] = ()
) -> tuple[Candidate, ...]:
    """The candidates to retrain, each once.

    Args:
        result: The study.
        top: The `top` best candidates, front after front, instead of the feasible front.
        trials: Exactly the candidates of these trials.

    Returns:
        The candidates, in the order of the front or of `trials`.

    Raises:
        StudyError: The study has no such candidate, or a trial has measured nothing.
    """
    if not trials:
        finalists = result.front if top is None else result.best(top)
        if not finalists and result.below_note:
            raise StudyError(
                f"study {result.spec.name!r} has an empty front, {result.below_note}; --top and "
                "--trial-numbers choose them"
            )
        if not finalists:
            why = result.nothing_known or f"`nas front {result.spec.name}` shows the nearest misses"
            raise StudyError(
                f"study {result.spec.name!r} has no feasible candidate to retrain: {why}"
            )
        return finalists
    known = {c.trial: c for c in result.candidates if c.archived in MEASURED}
    if missing := [n for n in trials if n not in known]:
        raise StudyError(f"study {result.spec.name!r}: trial {missing[0]} has measured nothing")
    return tuple({known[n].digest: known[n] for n in trials}.values())


def in_full(spec: StudySpec) -> StudySpec:
    """The study with every training from new weights over all epochs, and without traces.

    Raises:
        SpecError: It has no epochs.
    """
    if spec.training.epochs == 0:
        raise SpecError("training.epochs = 0: there is no training to repeat")
    changes = {"until": None, "rungs": (), "inherit": False}
    training = spec.training.model_copy(update=changes)
    hardware = spec.hardware.model_copy(update={"record": "rates"})
    return spec.model_copy(update={"training": training, "hardware": hardware})


def repeat_seed(seed: int, digest: str, number: int) -> int:
    """The seed of a repeat, which differs from those of trials and of other repeats.

    Args:
        seed: The study's.
        digest: Of the finalist.
        number: Of the repeat, from 0.

    Returns:
        A seed of 31 bits.
    """
    entropy = (seed, int(digest, 16), number)
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


def count_missing(search: Search, candidates: Sequence[Candidate], seeds: int) -> int:
    """Number of repeats that the store does not have.

    Args:
        search: The study.
        candidates: The finalists.
        seeds: Number of repeats of each.

    Returns:
        The number of trainings that are left.
    """
    stored = search.store.repeats(search.id).all()
    return sum((c.digest, n) not in stored for c in candidates for n in range(seeds))


def train(
    search: Search,
    evaluator: Evaluator,
    candidates: Sequence[Candidate],
    seeds: int,
    check_interrupt: Callable[[], None] = lambda: None,
    on_line: Callable[[str], None] = lambda text: None,
) -> None:
    """Trains every repeat that the store does not have, and returns when it has all of them.

    Repeats that other processes train come last. A training that was killed continues after its
    last epoch.

    Args:
        search: The study.
        evaluator: Trains; its specification is replaced by `in_full`.
        candidates: The finalists.
        seeds: Number of repeats of each.
        check_interrupt: Called between batches; may raise to end the training.
        on_line: Called with a line about each repeat that was trained here.
    """
    evaluator = replace(evaluator, spec=in_full(evaluator.spec))
    missing = list(itertools.product(range(seeds), candidates))
    while missing:
        check_interrupt()
        missing = [
            (number, candidate)
            for number, candidate in missing
            if not _ensure_trained(search, evaluator, candidate, number, check_interrupt, on_line)
        ]
        time.sleep(WAIT_s if missing else 0)


def _ensure_trained(
    search: Search,
    evaluator: Evaluator,
    candidate: Candidate,
    number: int,
    check_interrupt: Callable[[], None],
    on_line: Callable[[str], None],
) -> bool:
    """False where another process trains the repeat; else trains it if it is not in the store."""
    with _locked(weights_of_repeat(search, candidate.digest, number)) as is_ours:
        if is_ours and not search.store.repeats(search.id).has(candidate.digest, number):
            on_line(_train_one(search, evaluator, candidate, number, check_interrupt))
        return is_ours


def _train_one(
    search: Search,
    evaluator: Evaluator,
    candidate: Candidate,
    number: int,
    check_interrupt: Callable[[], None],
) -> str:
    """Trains one repeat and puts it into the store; returns a line about it."""
    known = search.store.archive(search.id).evaluation(candidate.digest)
    assert known is not None, candidate.digest  # noqa: S101  candidates come from the archive
    seed = repeat_seed(search.spec.seed, candidate.digest, number)
    weights = weights_of_repeat(search, candidate.digest, number)
    trained = evaluator.train(evaluator.screen(known.architecture, seed), weights, check_interrupt)
    search.store.repeats(search.id).add(number, trained)
    evaluator.delete_checkpoint(trained, weights)
    accuracy = (
        trained.reason if trained.accuracy is None else f"accuracy {percent(trained.accuracy)}"
    )
    seconds = duration(trained.seconds)
    return f"trial {candidate.trial}, repeat {number + 1}: {accuracy} in {seconds}"


def weights_of_repeat(search: Search, digest: str, number: int) -> Path:
    """The file of a repeat's weights, beside those of the search."""
    return search.weights(digest).with_suffix(f".repeat{number}.safetensors")


@contextmanager
def _locked(weights: Path) -> Iterator[bool]:
    """True inside with the lock on a repeat, False where another process has it."""
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
    search: Search, evaluator: Evaluator, candidates: Sequence[Candidate], seeds: int
) -> dict[Path, str]:
    """Measures the test accuracy of every trained repeat that has none.

    Args:
        search: The study.
        evaluator: Reads the test images.
        candidates: The finalists, all of whose repeats are in the store.
        seeds: Number of repeats of each.

    Returns:
        The files of weights that this machine cannot read, with the reason.
    """
    stored = search.store.repeats(search.id).all()
    missing = {}
    for candidate, number in itertools.product(candidates, range(seeds)):
        repeat = stored[candidate.digest, number]
        if repeat.test_accuracy is not None or not repeat.evaluation.trained:
            continue
        if reason := _measure_one(search, evaluator, repeat, number):
            missing[weights_of_repeat(search, candidate.digest, number)] = reason
    return missing


def _measure_one(search: Search, evaluator: Evaluator, repeat: Repeat, number: int) -> str:
    """Measures the test accuracy of a repeat; returns why it cannot, else an empty text."""
    architecture = repeat.evaluation.architecture
    weights = weights_of_repeat(search, architecture.digest, number)
    if not weights.is_file():
        return f"no file {weights.absolute()}; NAS_ARTIFACTS names its folder"
    try:
        demand_own(in_full(search.spec), evaluator.data_digest, repeat.evaluation, weights)
        value = evaluator.test_accuracy(architecture, weights)
    except DataError as error:
        return str(error)
    search.store.repeats(search.id).set_test_accuracy(architecture.digest, number, value)
    return ""


def read(
    search: Search, evaluator: Evaluator, candidates: Sequence[Candidate], seeds: int
) -> Retraining:
    """Reads the repeats of these finalists from the store and compares them.

    Args:
        search: The study.
        evaluator: Its data give the resolution of accuracies.
        candidates: The finalists.
        seeds: Number of repeats of each.

    Returns:
        The finalists by their mean validation accuracy, the best first, and their comparisons.
    """
    stored, spec = search.store.repeats(search.id).all(), search.spec
    finalists = []
    for candidate in candidates:
        repeats = tuple(stored.get((candidate.digest, n)) for n in range(seeds))
        within = sum(r is not None and _within(spec, r) for r in repeats)
        finalists.append(Finalist(candidate, repeats, within))
    finalists.sort(key=lambda f: -float(np.mean(f.accuracies)) if f.accuracies else 1.0)
    test = evaluator.images.test(min(spec.space.time_steps))
    resolution = (1 / len(evaluator.images.data.validation), 1 / len(test))
    samples = [(f.candidate.trial, f.accuracies) for f in finalists]
    compared = comparisons(samples, resolution[0])
    return Retraining(spec, seeds, tuple(finalists), compared, resolution)


def _within(spec: StudySpec, repeat: Repeat) -> bool:
    return repeat.evaluation.trained and spec.is_feasible(measure(repeat.evaluation))


def comparisons(
    samples: Sequence[tuple[int, Sequence[float]]], resolution: float
) -> tuple[Comparison, ...]:
    """Compares all pairs by Welch's test with Holm's correction.

    Repeats of two finalists share no seed, so they are not paired.

    Args:
        samples: Trial and accuracies of each finalist, the best mean first.
        resolution: The smallest difference between two accuracies that can be measured.

    Returns:
        Each pair's difference of means (0..1), its interval and p-value.
    """
    pairs = list(itertools.combinations(samples, 2))
    differences = [difference(a, b, resolution) for (_, a), (_, b) in pairs]
    tested = iter(holm([d.p for d in differences if d is not None]))
    compared = []
    for ((first, _), (second, _)), d in zip(pairs, differences, strict=True):
        p, level = next(tested) if d is not None else (None, None)
        interval = None if d is None or level is None else d.interval(level).within(-1.0, 1.0)
        compared.append(Comparison(first, second, interval, p, level))
    return tuple(compared)
