"""Memory of a container that is nearly used: the training ends first, and a lost worker's attempt
counts as out of memory."""

import pytest
import simulated
from study_history import StudyHistory
from trial_queues import GONE

from nas_service.evaluation.control_group import MemoryLimit
from nas_service.store.memory_notes import note
from nas_service.worker.memory_watch import MemoryWatch
from nas_service.worker.training_process import ChildFailure


@pytest.fixture
def container(tmp_path):
    """A control group of 1000 bytes."""
    folder = tmp_path / "group"
    folder.mkdir()
    return MemoryLimit(folder, 1000)


def use(container, used_B, kills_all=True):
    (container.folder / "memory.current").write_text(str(used_B))
    (container.folder / "memory.oom.group").write_text(str(int(kills_all)))


def noted(watch):
    """What one check notes."""
    notes = []
    threads = watch.check(notes.append)
    if threads is not None:
        threads.join(90)
    return notes


def test_little_memory_is_noted_once_and_enough_again_too(container):
    watch = MemoryWatch([container])
    use(container, 800)
    assert noted(watch) == []
    use(container, 900)
    assert noted(watch) == ["8.38e-07 of 9.31e-07 GiB in use"]
    assert noted(watch) == []
    use(container, 700)
    assert noted(watch) == [None]


def test_a_training_ends_before_its_container_is_killed(container):
    use(container, 980)
    with pytest.raises(ChildFailure, match=r"oom: .* the whole container would be killed"):
        MemoryWatch([container]).check(lambda text: None)
    use(container, 980, kills_all=False)  # the kernel kills the training alone
    assert len(noted(MemoryWatch([container]))) == 1
    assert noted(MemoryWatch([])) == []


class Killed(BaseException):
    """The kernel ends the worker."""


def killed_worker(url, container):
    """A worker that is killed in its training, while its container has little memory left."""
    worker = simulated.make_worker(url, "s", train=None)

    def train(*arguments):
        use(container, 900)
        watch = worker.heartbeat._memory
        watch.limits = [container]
        (text,) = noted(watch)
        note(worker.search.store, worker.heartbeat._lease, text)
        raise Killed

    worker._runner._train = train
    object.__setattr__(worker.assignment.queue, "worker", GONE)
    with pytest.raises(Killed):
        worker.run()
    worker.asked_to_end.set()
    worker.search.store.close()


def test_a_worker_that_was_killed_for_memory_counts_as_that(sqlite_url, container):
    simulated.make_study(sqlite_url, simulated.spec("s", 2))
    killed_worker(sqlite_url, container)
    simulated.work(simulated.make_worker(sqlite_url, "s"))
    history = StudyHistory.read(sqlite_url)
    history.check(2)
    lost, won = history.attempts_at(0)
    assert (lost["result_kind"], won["result_kind"]) == ("oom", "won")
    assert lost["reason"] == "memory: 8.38e-07 of 9.31e-07 GiB in use"


def test_a_candidate_that_killed_two_workers_for_memory_is_too_large(sqlite_url, container):
    simulated.make_study(sqlite_url, simulated.spec("s", 2))
    for _ in range(2):
        killed_worker(sqlite_url, container)
    simulated.work(simulated.make_worker(sqlite_url, "s"))
    history = StudyHistory.read(sqlite_url)
    history.check(2)
    kinds = [a["result_kind"] for a in history.attempts_at(0)]
    assert kinds == ["oom", "oom", "won"], "nothing was lost, and it was not trained again"
    trial = history.trials[0].user_attrs
    assert trial["outcome"] == "rejected"
    assert "too large to train: twice oom: its worker was killed for memory" in trial["reason"]
