"""Studies in unusual states in one store: nothing tried, nothing feasible, everything failed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import stored_studies as stored

from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches.session import Search
from nas_service.store.process_id import worker_name
from nas_service.store.records import Claimed, Limits
from nas_service.store.store import Store
from nas_service.store.trial_queue import TrialQueue

ACCURACY = {"metric": "accuracy", "direction": "maximize", "reference": 0.5}
RATE = {"metric": "spike_rate", "direction": "minimize", "reference": 1.0}
FOUR = [
    ACCURACY,
    RATE,
    {"metric": "energy_uJ", "direction": "minimize", "reference": 9.0},
    {"metric": "area_mm2", "direction": "minimize", "reference": 9.0},
]
GOOD = (0.9, 0.8, None)
DIGEST = Evaluator.open(stored.spec_of("digits"), Path()).data_digest  # of the digits' first images


def fail(search: Search, reason: str) -> None:
    """A new trial that fails."""
    queue = TrialQueue(search.store, search.id, worker_name())
    claim = queue.claim(Limits(100, 10, 3), lambda _: search.study.ask().number)
    assert isinstance(claim, Claimed), claim
    queue.fail(claim.lease, reason)
    queue.failure_reported(claim.lease.id)


def _failed(store: Store, name: str) -> None:
    search = stored.stored_study(store, name, (), DIGEST)
    for reason in ("RuntimeError: first", "RuntimeError: second"):
        fail(search, reason)


def _of(accuracies: Sequence[float | None], **sections: object) -> Callable[[Store, str], None]:
    def make(store: Store, name: str) -> None:
        stored.stored_study(store, name, accuracies, DIGEST, **sections)

    return make


STATES: dict[str, Callable[[Store, str], None]] = {
    "no-trial": _of(()),
    "none-feasible": _of((None, None)),
    "over-budget": _of((0.9, 0.8), constraints=[{"metric": "accuracy", "at_least": 0.99}]),
    "below-reference": _of((0.3, 0.2), objectives=[ACCURACY, RATE]),
    "one-objective": _of(GOOD, objectives=[ACCURACY]),
    "four-objectives": _of(GOOD, objectives=FOUR),
    "only-failed": _failed,
}
"""What makes a study of each state in a store."""


def store_with_all(url: str) -> None:
    """A store with one study in each state, under the state's name."""
    store = Store(url, create=True)
    for name, make in STATES.items():
        make(store, name)
    store.close()
