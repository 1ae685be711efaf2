"""Fronts of studies of many trials, as optuna-dashboard and plain Optuna show them."""

import gzip
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from dashboard_site import ask
from stored_studies import evaluation, finish, stored_study
from synthetic_study import OBJECTIVES, synthetic_study

from nas_service.dashboard.own_studies import OwnStudies
from nas_service.dashboard.server import make_app
from nas_service.searches.results import read
from nas_service.searches.session import Search
from nas_service.store.store import Store

SIZES = [  # trials, epochs of a full training
    (10, 3),
    (1000, 1),
    pytest.param(1000, 3, marks=pytest.mark.nightly),
    pytest.param(5000, 1, marks=pytest.mark.nightly),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    yield store
    store.close()


def app_of(store: Store) -> Any:
    return make_app(store.optuna, port=8080, known=OwnStudies(store))


@pytest.mark.parametrize(("count", "epochs"), SIZES)
def test_best_trials_are_our_front(store: Store, count: int, epochs: int) -> None:
    search = synthetic_study(store, "many", count, seed=count, epochs=epochs)
    result = read(search)
    document = ask(app_of(store), f"/api/studies/{search.id}").json
    best = [trial["number"] for trial in document["best_trials"]]
    assert best == sorted(result.front_trials)
    assert len(document["trials"]) == count
    trials = {trial["number"]: trial for trial in document["trials"]}
    for c in result.candidates:
        drawn_as_feasible = all(x <= 0 for x in trials[c.trial]["constraints"])
        if not c.feasible or c.below_reference:
            assert not drawn_as_feasible, c
    check_plain_optuna(search)


def check_plain_optuna(search: Search) -> None:
    """`best_trials` of Optuna itself: which it lists beside our front, and which it may miss.

    It lists copies, candidates below a reference, and shorter trainings; a shorter training, or the
    trial that continued a candidate, may take the place of a trial of our front.
    """
    result = read(search)
    by_trial = {c.trial: c for c in result.candidates}
    best = [by_trial[t.number] for t in plain(search).best_trials]
    assert all(c.feasible for c in best)
    fronts = {c.digest for c in result.front}
    is_shorter = {c.digest: c.metrics["epochs"] < result.front_epochs for c in result.feasible}
    for c in best:
        assert c.digest in fronts or c.below_reference or is_shorter[c.digest]
    if not any(is_shorter.values()) and result.counts["continued"] == 0:
        assert {c.trial for c in best} >= result.front_trials


def plain(search: Search) -> optuna.Study:
    """The study as Optuna alone opens it."""
    url = search.store.url.render_as_string(hide_password=False)
    return optuna.load_study(study_name=search.name, storage=url)


def test_what_a_page_has_already_is_not_sent_again(store: Store) -> None:
    search = synthetic_study(store, "many", 300)
    app = app_of(store)
    whole = ask(app, f"/api/studies/{search.id}")
    packed = ask(app, f"/api/studies/{search.id}", HTTP_ACCEPT_ENCODING="gzip, deflate")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == whole.body
    assert len(packed.body) < len(whole.body) / 10
    poll = ask(app, f"/api/studies/{search.id}", QUERY_STRING="after=298").json
    assert [trial["number"] for trial in poll["trials"]] == [298, 299]
    assert poll["best_trials"] == whole.json["best_trials"]
    for wrong in ("after=-1", "after=x", "after=" + "9" * 5000, "after=%C2%B2"):
        assert ask(app, f"/api/studies/{search.id}", QUERY_STRING=wrong).status == 400
    assert ask(app, "/api/studies/99").status == 404


def test_a_study_that_grows_is_read_again(store: Store) -> None:
    """Reported results appear at the next poll, with the front as it is then."""
    search = stored_study(store, "grows", [0.6, 0.7], objectives=OBJECTIVES[:1])
    app = app_of(store)

    def best() -> list[int]:
        trials = ask(app, f"/api/studies/{search.id}").json["best_trials"]
        return [trial["number"] for trial in trials]

    assert best() == [1]
    finish(search, evaluation(7, 0.4))
    assert best() == [1]
    finish(search, evaluation(8, 0.7))
    assert best() == [1, 3], "of one objective all that are equally good"
    finish(search, evaluation(9, 0.9))
    assert best() == [4]


def test_nothing_on_the_front_is_nothing_best(store: Store) -> None:
    """All below the reference: none is best, and none is drawn as feasible."""
    search = stored_study(store, "below", [0.3, 0.4, None], objectives=OBJECTIVES[:1])
    document = ask(app_of(store), f"/api/studies/{search.id}").json
    assert document["best_trials"] == []
    assert [max(trial["constraints"]) > 0 for trial in document["trials"]] == [True] * 3
    shown = {a["key"]: a["value"] for a in document["trials"][0]["user_attrs"]}
    assert shown["below_reference"] == "accuracy"


@pytest.mark.nightly
def test_five_thousand_trials_open_and_poll_fast(store: Store) -> None:
    """CPU seconds of the server, beside those of a loop whose speed is known."""
    search = synthetic_study(store, "many", 5000)
    app, path = app_of(store), f"/api/studies/{search.id}"
    begin = time.process_time()
    first = ask(app, path, HTTP_ACCEPT_ENCODING="gzip")
    cold_s = time.process_time() - begin
    begin = time.process_time()
    ask(app, path, HTTP_ACCEPT_ENCODING="gzip", QUERY_STRING="after=5000")
    poll_s = time.process_time() - begin
    assert len(first.body) < 4e6
    assert (cold_s < 10, poll_s < 1) == (True, True), (cold_s, poll_s)
