"""A training that another machine has begun: the worker says where its checkpoint is."""

import socket
from contextlib import closing
from dataclasses import replace

import pytest
from stored_studies import ELSEWHERE, study_of_digits

from nas_service.searches.session import open_search
from nas_service.searches.weights import FOLDER, recorded_folders
from nas_service.store.records import Limits
from nas_service.store.store import Store
from nas_service.store.trial_queue import TrialQueue
from nas_service.worker.worker import Worker

pytestmark = pytest.mark.training  # reads the digits


def begun_elsewhere(address):
    """A trial whose training node17 has begun and given back; returns its candidate's digest."""
    with closing(Store(address, write=True)) as store:
        return begun(open_search(store, "s"))


def begun(search):
    drawn = []

    def ask(_):
        trial = search.study.ask()
        drawn.append(search.spec.build_space().draw(trial))
        return trial.number

    queue = TrialQueue(search.store, search.id, ELSEWHERE)
    lease = queue.claim(Limits(100, 10, 3), ask).lease
    queue.begin_training(lease, drawn[0].digest)
    queue.release(lease)
    return drawn[0].digest


def train(evaluator, candidate, weights, check_interrupt):
    measured = {"outcome": "trained", "accuracy": 0.5, "spike_rate": 0.5, "fidelity": 1}
    return replace(candidate, **measured)


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_worker_names_the_machine_that_has_the_checkpoint(store, is_shared):
    search, evaluator = study_of_digits(store, "s", [])
    search.study.set_user_attr(f"{FOLDER}node17", "/scratch/weights")
    digest = begun_elsewhere(store.address)
    if is_shared:
        path = search.weights(digest).with_suffix(".training.safetensors")
        path.parent.mkdir(parents=True)
        path.touch()
    lines = []
    worker = Worker(search, evaluator, lines.append, train=train)
    worker.run(max_trials=1)
    worker.asked_to_end.set()
    notes = [line for line in lines if "begins again" in line]
    assert len(notes) == (not is_shared)
    for note in notes:
        assert note.startswith("trial 0: its training begins again: no checkpoint in ")
        assert "node17 has them in /scratch/weights/s; let NAS_ARTIFACTS name a folder" in note
    own = {socket.gethostname(): str(search.store.artifacts.absolute())}
    assert recorded_folders(store, search.id) == own | {"node17": "/scratch/weights"}
