"""Tasks of a Dask cluster: where they are started again, and when that is given up.

The client is a double, whose Dask workers have addresses and answer at once.
"""

from concurrent.futures import CancelledError
from types import SimpleNamespace

import pytest
from later import Later

from nas_service.errors import NasError, StoreError, TooManyFailures

dask, dask_task = Later("nas_service.launch.dask"), Later("nas_service.launch.dask_task")
distributed = Later("distributed")
END = "end: budget spent"


class Outcome:
    """A future: pending, or ended by a result or an error, or cancelled."""

    def __init__(self, places, value=None, error=None):
        self.places, self.value, self.error, self.is_cancelled = places, value, error, False

    @property
    def status(self):
        return "error" if self.error else "finished" if self.value else "pending"

    def done(self):
        return bool(self.value or self.error or self.is_cancelled)

    def cancelled(self):
        return self.is_cancelled

    def cancel(self):
        self.is_cancelled = True

    def exception(self):
        return self.error

    def result(self, timeout):
        return self.value


class Cluster:
    """A client whose Dask workers answer by their address; one without an answer is busy."""

    def __init__(self, answers, specs=()):
        self.answers, self.futures, self.specs = answers, [], dict(specs)

    def nthreads(self):
        return dict.fromkeys(self.answers, 1)

    def run(self, function, module, workers, on_error):
        return {address: self.specs.get(address, object()) for address in workers}

    def submit(self, function, task, key, workers, pure):
        places = sorted(workers or self.answers)
        answers = [self.answers[place] for place in places if self.answers.get(place)]
        answer = answers[0] if answers else None
        error = answer if isinstance(answer, BaseException) else None
        self.futures.append(Outcome(workers, None if error else answer, error))
        return self.futures[-1]


def launched(answers, workers=1, restarts=0, between=lambda cluster, tasks: None, specs=()):
    """Runs tasks to their end; returns the reason, the messages and the submissions."""
    cluster, messages = Cluster(answers, specs), []
    tasks = dask.RunningTasks(cluster, dask_task.Task("tiny", "/data", "nas-1"), messages.append)
    tasks.start(workers, restarts)
    for _ in range(20):
        if not tasks.unfinished:
            break
        between(cluster, tasks)
        tasks.update()
    assert not tasks.unfinished
    return SimpleNamespace(reason=tasks.reason, messages=messages, futures=cluster.futures)


def refusal(address, code=4, reason="/x/url: cannot be read"):
    return dask_task.Finished(address, code, reason)


def test_what_one_dask_worker_refuses_runs_on_another():
    answers = {
        "tcp://bad": refusal("tcp://bad"),
        "tcp://good": dask_task.Finished("tcp://good", 0, END),
    }
    done = launched(answers, workers=3)
    assert done.reason() == END
    assert done.messages.count("no worker can run on tcp://bad: /x/url: cannot be read") == 1
    assert done.messages.count(f"worker on tcp://good: {END}") == 3
    assert [future.places for future in done.futures] == [None] * 3 + [["tcp://good"]] * 3


@pytest.mark.parametrize(
    ("codes", "kind"), [((2, 2), NasError), ((4, 2), StoreError), ((4, 5), TooManyFailures)]
)
def test_only_when_all_refuse_it_is_given_up(codes, kind):
    answers = {f"tcp://{n}": refusal(f"tcp://{n}", code) for n, code in enumerate(codes)}
    done = launched(answers, workers=2, restarts=10)
    with pytest.raises(kind) as caught:
        done.reason()
    assert type(caught.value) is kind
    text = "no Dask worker can work on the study: tcp://0: /x/url: cannot be read; tcp://1: "
    assert str(caught.value).startswith(text)


def test_many_that_refuse_are_one_line():
    addresses = [f"tcp://{n}" for n in range(9)]
    done = launched({address: refusal(address) for address in addresses})
    with pytest.raises(StoreError, match=r"tcp://2: /x/url: cannot be read; and 6 more$"):
        done.reason()


def test_a_lost_dask_worker_may_come_back_while_all_others_refuse():
    """Its nanny starts it again, under another address."""
    answers = {"tcp://bad": refusal("tcp://bad"), "tcp://good": None}
    steps = iter(range(9))

    def between(cluster, tasks):
        step = next(steps)
        if step == 2:
            del cluster.answers["tcp://good"]
        if step == 5:
            cluster.answers["tcp://new"] = dask_task.Finished("tcp://new", 0, END)

    done = launched(answers, between=between)
    assert done.reason() == END
    assert [future.places for future in done.futures] == [None, ["tcp://good"], ["tcp://new"]]


def test_a_killed_worker_is_restarted_a_number_of_times():
    done = launched({"tcp://a": dask_task.Finished("tcp://a", -9, "")}, restarts=2)
    assert len(done.futures) == 3
    assert len([text for text in done.messages if text.endswith("; it is restarted")]) == 2
    with pytest.raises(NasError, match="exit code -9"):
        done.reason()


def test_a_task_whose_dask_workers_were_lost_is_restarted():
    lost = distributed.KilledWorker("nas-tiny-1", None, 3)
    done = launched({"tcp://a": lost}, restarts=1)
    assert done.messages[0] == "the Dask workers of a task were lost one by one; it is restarted"


def test_dask_workers_without_this_package_get_no_task():
    """One that does would end, with whatever else it computes."""
    specs = {"tcp://a": None, "tcp://c": ModuleNotFoundError("No module named 'nas_service'")}
    answers = {"tcp://a": None, "tcp://b": dask_task.Finished("tcp://b", 0, END), "tcp://c": None}
    done = launched(answers, specs=specs | {"tcp://b": OSError("slow")})
    assert done.reason() == END
    assert [future.places for future in done.futures] == [["tcp://b"]]
    assert done.messages[:2] == [
        f"no worker can run on tcp://{name}: the package nas-service of this release is missing"
        for name in "ac"
    ]


def test_an_error_of_dask_is_one_line():
    done = launched({"tcp://a": ValueError("first\nsecond")}, restarts=1)
    assert done.messages[0] == "a task failed: ValueError: first; it is restarted"


def test_a_lost_scheduler_is_one_line(monkeypatch):
    monkeypatch.setattr("nas_service.launch.dask.POLL_s", 0)
    cluster = Cluster({"tcp://a": None})
    cluster.subscribe_topic = lambda topic, handler: handler((0.0, "trial 0"))
    lines = []

    def cancel():
        cluster.futures[0].cancel()

    with pytest.raises(NasError, match=r"^the connection to the Dask scheduler was lost: .*again$"):
        dask.launch(
            cluster, dask_task.Task("tiny", "/data", "nas-1"), 1, lines.append, on_tick=cancel
        )
    assert lines == ["trial 0"]


@pytest.mark.parametrize("error", [CancelledError(), OSError("closed"), TimeoutError()])
def test_a_scheduler_that_does_not_answer_is_one_line(error):
    def fail():
        raise error

    cluster = SimpleNamespace(subscribe_topic=lambda topic, handler: None, nthreads=fail)
    with pytest.raises(NasError, match="scheduler was lost"):
        dask.launch(cluster, dask_task.Task("tiny", "/data", "nas-1"), 1, print)
