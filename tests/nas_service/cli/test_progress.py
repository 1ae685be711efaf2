"""The bar of `nas run` and `nas launch dask`: it outlives a store that does not answer."""

from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from nas_service.cli.progress import ProgressBar
from nas_service.searches import results

RESULT = SimpleNamespace(candidates=(), feasible=(), counts={"trained": 2, "rejected": 1}, front=())


def test_a_store_that_does_not_answer_is_asked_again(monkeypatch):
    answers = iter([OperationalError("select", None, OSError("gone")), RESULT])

    def read(search):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(results, "read", read)
    bar = ProgressBar(None, 5)
    bar.live = True
    bar.tick()
    assert bar.changed
    bar.tick()
    assert not bar.changed
    assert (bar.bar.tasks[0].completed, bar.bar.tasks[0].total) == (2, 5)
    bar.tick()  # nothing has changed, so the store is not asked


def test_other_errors_are_shown(monkeypatch):
    monkeypatch.setattr(results, "read", lambda search: {}["key"])
    bar = ProgressBar(None, 5)
    bar.live = True
    with pytest.raises(KeyError):
        bar.tick()
