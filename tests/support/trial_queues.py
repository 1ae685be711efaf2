"""A store with one study, and claims in it, for the tests of the store."""

from optuna.study import StudyDirection

from hw_models import Layer, Workload, load_profile
from nas_service.metrics import Evaluation
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.store.process_id import worker_name
from nas_service.store.records import Claimed, Ended, Limits
from nas_service.store.store import Store
from nas_service.store.trial_queue import TrialQueue

ID = 1
LIMITS = {"proposals": 100, "attempts": 3, "failures": 10}
OTHER = "elsewhere/boot/1/1"  # an owner on another machine: only its deadline tells
HOST, BOOT, _, _, NAMESPACE = worker_name().split("/")
GONE = f"{HOST}/{BOOT}/99999999/1/{NAMESPACE}"  # of this machine, and dead
REPORT = load_profile("spikesim_rram").estimate(Workload((Layer("a", "linear", 4, 4),), 2))


def evaluation(channels=8, outcome="trained"):
    architecture = Architecture((Cell(("skip",) * 6),), channels, 1, 8, 2, 8)
    accuracy = 0.9 if outcome == "trained" else None
    return Evaluation(
        architecture, outcome, REPORT, chance=0.1, seed=1, accuracy=accuracy, spike_rate=accuracy
    )


def opened(url):
    """A store with one study of four trainings, Optuna's and ours."""
    made = Store(url, create=True)
    assert made.optuna.create_new_study([StudyDirection.MAXIMIZE], "s") == ID
    made.studies.add(ID, "{}", "data", trainings=4)
    return made


def new_trial(store):
    """Number of a new running trial of Optuna's."""
    return store.optuna.get_trial(store.optuna.create_new_trial(ID)).number


def queue_of(store, worker=OTHER):
    return TrialQueue(store, ID, worker)


def claimed(store, worker=OTHER, promote=None, **limits):
    """What a claim gives."""
    arguments = Limits(**(LIMITS | limits))
    return queue_of(store, worker).claim(arguments, lambda _: new_trial(store), promote=promote)


def claim(store, worker=OTHER, promote=None, **limits):
    """A claim that gives a lease."""
    result = claimed(store, worker, promote, **limits)
    assert isinstance(result, Claimed), result
    return result.lease


def end(store, promote=None, **limits):
    return queue_of(store).end(Limits(**(LIMITS | limits)), promote=promote)


def spent(trainings):
    return Ended("budget", {"trainings": trainings})


def trained(store, trial, channels, worker=OTHER):
    lease = claim(store, worker)
    assert lease.trial == trial
    e = evaluation(channels)
    assert queue_of(store).begin_training(lease, e.architecture.digest) == (True, None)
    assert queue_of(store, worker).archive_result(lease, e)
    queue_of(store).result_reported(lease.id, "trained")
