"""What the study store returns and keeps, as plain records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from nas_service.metrics import MEASURED, Evaluation, Rate
from nas_service.spaces.architecture import Architecture

State = Literal[
    "proposing",
    "training",
    "pending",
    "awaiting_duplicate",
    "archived",
    "reported",
    "failed",
    "forgiven",
]
"""A lease's life: proposing -> training -> archived -> reported. It is `awaiting_duplicate` while
another trial of the same digest is evaluated, and `pending` after its worker is gone. A `failed`
one that no longer counts against the study is `forgiven`."""
STATES: tuple[State, ...] = get_args(State)
LIVE: tuple[State, ...] = ("proposing", "training")  # a worker has the trial
FAILED: tuple[State, ...] = ("failed", "forgiven")
UNFINISHED: tuple[State, ...] = (*LIVE, "pending", "awaiting_duplicate", "archived")
PAID = (*MEASURED, "diverged")  # outcomes that the budget of trainings counts
CONTINUED = "continued"  # outcome of a trial that trained a known candidate further
REASON = 1000  # characters kept of why a trial failed

ResultKind = Literal["won", "from_archive", "lost", "late", "released", "crashed", "oom", "failed"]
"""How an attempt at a trial ended. Of all attempts at one trial at most one is `won` or
`from_archive` (its candidate was evaluated by another trial)."""

EndKind = Literal[
    "budget", "failures", "proposals", "time", "stalled", "exhausted", "budgets_exhausted"
]
SENTENCES: dict[EndKind, str] = {
    "budget": "budget spent: {trainings} trainings",
    "failures": "too many failures: {failed} trials failed, {where}",
    "proposals": "proposals at their limit: {proposals} proposed, {trainings} trained",
    "time": "time is up: {elapsed_s:.0f} of {seconds:g} seconds, {trainings} trainings",
    "stalled": "stalled: hypervolume {hypervolume:.4f} after {trainings} trainings, "
    "{before:.4f} before the last {patience}",
    "exhausted": "space exhausted: all {candidates} different candidates are known",
    "budgets_exhausted": "space exhausted: all {candidates} candidates within the budgets are "
    "known",
}


@dataclass(frozen=True)
class Ended:
    """The study is at its end: why, and the figures of the sentence that says so."""

    kind: EndKind
    figures: Mapping[str, float | str] = field(default_factory=dict)

    def __str__(self) -> str:
        return SENTENCES[self.kind].format_map(self.figures)


@dataclass(frozen=True)
class Wait:
    """No trial can be claimed now, but one may be later: trials of other workers run."""

    under_way: int = field(default=0, compare=False)  # their number


@dataclass(frozen=True)
class Lease:
    """A worker's right to one trial, at one attempt."""

    id: int
    trial: int  # number
    attempt: int  # from 1


@dataclass(frozen=True)
class RungResult:
    """A candidate's metrics at one rung."""

    digest: str
    trial: int  # that measured it first
    epochs: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Promotion:
    """A candidate whose training is continued to a later rung."""

    result: RungResult  # at its last rung so far
    until: int  # epoch

    @property
    def digest(self) -> str:
        """The candidate's digest."""
        return self.result.digest


@dataclass(frozen=True)
class Claimed:
    """A worker has got a trial."""

    lease: Lease
    promotion: Promotion | None = None  # of a new trial that continues a known candidate


Claim = Claimed | Ended | Wait
Ask = Callable[[Promotion | None], int]
"""Makes a new trial, which continues the promoted candidate if there is one; returns its number."""
Promote = Callable[[Sequence[RungResult], set[str], bool], Promotion | None]
"""Chooses the candidate to promote, from all rung results, the digests that must not be promoted
(in evaluation, failed or diverged), and whether the study has nothing else left to do."""


@dataclass(frozen=True)
class Limits:
    """At which counts a study proposes no more trials."""

    proposals: int
    failures: int  # trials that may fail
    attempts: int  # failed attempts after which a trial fails
    seconds: float | None = None  # in which any worker works on the study


@dataclass(frozen=True)
class ArchiveReceipt:
    """A result is in the archive."""

    outcome: str  # of its trial
    followed: bool  # trials of the same candidate wait for this result


@dataclass(frozen=True)
class Unreported:
    """A trial of which Optuna may not know the result yet."""

    lease_id: int
    trial: int
    digest: str
    outcome: str
    reason: str | None  # of a failure


@dataclass(frozen=True)
class Archived:
    """One entry of the archive without the evaluation's long text."""

    digest: str
    trial: int
    outcome: str
    metrics: dict[str, float]
    test_accuracy: float | None


@dataclass(frozen=True)
class Recorded:
    """What the costs of a candidate follow from."""

    architecture: Architecture
    spike_rates: dict[str, Rate]  # by layer; empty where nothing was trained


@dataclass(frozen=True)
class TrainingFacts:
    """What was measured of a candidate, without its costs layer by layer."""

    architecture: Architecture
    curve: tuple[tuple[int, float], ...]  # epochs and the accuracies after them, 0..1
    on_chip: tuple[float, ...]  # accuracy on each simulated chip, 0..1
    proxies: dict[str, float]  # training-free scores
    seconds: float  # of training and scoring, wall clock
    seed: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Repeat:
    """One training of a finalist in full, with a seed of its own."""

    evaluation: Evaluation
    test_accuracy: float | None  # None until the test images were evaluated


@dataclass(frozen=True)
class StudyName:
    """A study of the database: its number, its name, and whether this service made it."""

    id: int
    name: str
    is_ours: bool


@dataclass(frozen=True)
class StudyRow:
    """A study as our tables know it."""

    id: int
    name: str
    spec: str  # JSON
    data_digest: str
    trainings: int  # the budget
