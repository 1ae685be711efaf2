"""Studies whose results are written into the store without a training."""

import json
from collections.abc import Sequence
from pathlib import Path

from hw_models import Layer, Workload, load_profile
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.training_run import origin
from nas_service.metrics import Evaluation
from nas_service.searches.creation import check, create
from nas_service.searches.optuna_trial import report_by_number
from nas_service.searches.session import Search
from nas_service.snn.checkpoint import save_weights
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.store.process_id import worker_name
from nas_service.store.records import Claimed, Limits
from nas_service.store.store import Store
from nas_service.store.trial_queue import TrialQueue
from nas_service.study.loading import parse_spec
from nas_service.study.spec import StudySpec

REPORT = load_profile("corrected").estimate(Workload((Layer("a", "linear", 4, 4),), 2))
CELL = Cell(("skip",) * 6)
ELSEWHERE = "node17/boot/1/1"  # name of a worker on another machine


def spec_of(name: str, **sections: object) -> StudySpec:
    tree = {
        "name": name,
        "space": {"channels": 4, "head_pool": 1, "hidden": 8, "time_steps": 2},
        "data": {"name": "digits", "train_samples": 16, "validation_samples": 16},
        "training": {"epochs": 1},
        "objectives": [
            {"metric": "accuracy", "direction": "maximize"},
            {"metric": "spike_rate", "direction": "minimize", "reference": 1.0},
        ],
    }
    return parse_spec(json.dumps(tree | sections), "test")


def evaluation(
    channels: int, accuracy: float | None, epochs: int = 1, rate: float | None = None
) -> Evaluation:
    """A candidate that is told apart by its channels; one without accuracy is rejected."""
    return Evaluation(
        Architecture((CELL, CELL), channels, 1, 8, 2, 8),
        "rejected" if accuracy is None else "trained",
        REPORT, 0.1, 1, epochs, accuracy=accuracy, spike_rate=rate or accuracy,
        reason="parameters over budget" if accuracy is None else "",
    )  # fmt: skip


def finish(search: Search, evaluation: Evaluation, worker: str = "") -> None:
    """A new trial with this result."""
    queue = TrialQueue(search.store, search.id, worker or worker_name())
    claim = queue.claim(Limits(100, 10, 3), lambda _: search.study.ask().number)
    assert isinstance(claim, Claimed), claim
    assert queue.archive_result(claim.lease, evaluation)
    report_by_number(search.study, search.spec, claim.lease.trial, evaluation, evaluation.outcome)
    queue.result_reported(claim.lease.id, evaluation.outcome)


def stored_study(
    store: Store,
    name: str,
    accuracies: Sequence[float | None],
    digest: str = "data",
    **sections: object,
) -> Search:
    """A study with a trial for each accuracy; candidate n has n + 1 channels."""
    search = create(store, check(spec_of(name, **sections)), digest)
    for n, accuracy in enumerate(accuracies):
        finish(search, evaluation(n + 1, accuracy))
    return search


def study_of_digits(
    store: Store, name: str, accuracies: Sequence[float | None]
) -> tuple[Search, Evaluator]:
    """A stored study whose data are read."""
    evaluator = Evaluator.open(spec_of(name), Path())
    return stored_study(store, name, accuracies, evaluator.data_digest), evaluator


def write_weights(
    search: Search, evaluator: Evaluator, channels: int, epochs: int = 1, foreign: bool = False
) -> Path:
    """The weights of a candidate after these epochs; foreign ones were trained on other data."""
    trained = evaluation(channels, 0.5, epochs)
    architecture = trained.architecture
    path = search.weights(architecture.digest)
    data_digest = "0" if foreign else evaluator.data_digest
    save_weights(evaluator.network(architecture), path, origin(search.spec, data_digest, trained))
    return path
