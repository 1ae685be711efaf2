"""`nas status`: the time left, workers that are gone, and --watch until the study ends."""

from contextlib import closing

import pytest
import stored_studies as stored
from command_line import run

from nas_service.cli import status
from nas_service.searches.results import read
from nas_service.searches.time_left import time_left_s
from nas_service.store.records import Claimed, Limits
from nas_service.store.store import Store
from nas_service.store.tables import attempts, leases
from nas_service.store.trial_queue import TrialQueue


@pytest.fixture
def search(tmp_path, monkeypatch):
    """A study with two of four trainings, each of which took 30 s."""
    monkeypatch.setenv("NAS_STORAGE", f"sqlite:///{tmp_path}/nas.db")
    monkeypatch.delenv("COLUMNS", raising=False)
    with closing(Store(f"sqlite:///{tmp_path}/nas.db", create=True)) as store:
        search = stored.stored_study(store, "x", (0.9, 0.8), search={"trainings": 4})
        with store.transactions.begin() as db:
            db.execute(attempts.update().values(started_at=attempts.c.finished_at - 30))
        yield search


def claim(search, worker):
    """A trial that this worker has."""
    queue = TrialQueue(search.store, search.id, worker)
    claimed = queue.claim(Limits(100, 10, 3), lambda _: search.study.ask().number)
    assert isinstance(claimed, Claimed)


def test_the_time_left_is_that_of_the_trainings_shared_by_the_workers(search):
    assert time_left_s(search, trainings=4, workers=2) == pytest.approx(60)
    assert time_left_s(search, trainings=1, workers=2) == pytest.approx(30)
    assert time_left_s(search, trainings=4, workers=0) is None
    assert time_left_s(search, trainings=0, workers=1) is None


def test_without_a_training_no_time_is_guessed(search):
    assert time_left_s(stored.stored_study(search.store, "new", ()), 4, 1) is None


def test_status_tells_how_long_it_takes(search):
    claim(search, stored.ELSEWHERE)
    lines = run("status", "x").stdout.splitlines()
    assert "workers      1 alive" in lines
    assert "time left    about 1 min" in lines


def test_a_trial_whose_worker_is_gone_waits(search):
    claim(search, stored.ELSEWHERE)
    with search.store.transactions.begin() as db:
        db.execute(leases.update().values(deadline=0.0))
    text = run("status", "x").stdout
    assert "workers      none alive: 1 unfinished trial waits for one (nas resume x)" in text
    assert "1 unfinished (33.3 %)" in text
    assert "time left" not in text


def test_watch_prints_a_line_for_each_change_until_the_end(search, capsys):
    def sleep(seconds):
        assert seconds >= status.INTERVAL_s
        pauses.append(seconds)
        if len(pauses) > 1:
            stored.finish(search, stored.evaluation(len(pauses) + 5, 0.5))

    pauses = []
    status.watch_status(search, sleep)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "2 of 4 trainings", "3 of 4 trainings", "4 of 4 trainings",
    ]  # fmt: skip
    assert lines[-1].endswith("; budget spent: 4 trainings")
    assert len(pauses) == 3


def test_watch_redraws_a_terminal(search, monkeypatch, capsys):
    monkeypatch.setattr(status.out, "_force_terminal", True)
    monkeypatch.setattr(status.out, "is_interactive", True)
    monkeypatch.setattr(status.out, "_color_system", None)
    stored.finish(search, stored.evaluation(5, 0.5))
    status.watch_status(search, lambda _: stored.finish(search, stored.evaluation(6, 0.5)))
    text = capsys.readouterr().out
    assert "\x1b[" in text  # the cursor moves up
    assert "trainings    3 of 4" in text
    assert text.rindex("trainings    4 of 4") > text.rindex("trainings    3 of 4")


def test_ctrl_c_ends_the_watch_alone(search):
    def interrupt(seconds):
        raise KeyboardInterrupt

    status.watch_status(search, interrupt)


def test_a_store_that_does_not_answer_is_asked_again(search, monkeypatch, capsys):
    answers = iter([ConnectionError("gone"), read(search)])

    def answer(_):
        result = next(answers)
        if isinstance(result, Exception):
            raise result
        return result

    stored.finish(search, stored.evaluation(5, 0.5))
    stored.finish(search, stored.evaluation(6, 0.5))
    monkeypatch.setattr(status, "is_transient", lambda error: isinstance(error, ConnectionError))
    monkeypatch.setattr(status.results, "read", answer)
    status.watch_status(search, lambda seconds: None)
    assert capsys.readouterr().out.startswith("2 of 4 trainings")


def test_watch_is_for_people(search):
    result = run("status", "x", "--watch", "--json")
    assert (result.exit_code, result.stderr) == (
        2, "nas: --watch and --json: one of them is possible at a time\n",
    )  # fmt: skip
