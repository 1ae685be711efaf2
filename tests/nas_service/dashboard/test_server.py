"""The dashboard over a real SQLite store, asked over HTTP and looked at by a real browser."""

import contextlib
import http.client
import importlib
import io
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas_service.dashboard import server as dashboard
from nas_service.dashboard.server import DashboardError, make_app, serve
from nas_service.dashboard.trials import ReadOnlyStorage, front, listed, results
from nas_service.errors import NasError, StoreError

Direction = Literal["minimize", "maximize"]
REPOSITORY = Path(__file__).parents[3]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>alert(1)</script>\x1b[31mred"
SERVE = """
import sys
import optuna
from nas_service.dashboard.server import serve
storage = optuna.storages.RDBStorage(sys.argv[1])
serve(storage, port=0, on_ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""
ADD_TRIAL = """
import sys
import optuna
study = optuna.load_study(study_name="digits", storage=sys.argv[1])
trial = study.ask()
trial.set_constraint("memory_B", -0.5)
trial.set_constraint("energy_J", -0.5)
trial.set_user_attr("outcome", "trained")
study.tell(trial, [0.99, 0.1])
"""

# accuracy (up), energy in pJ (down), violations of memory_B and energy_J, outcome
TRIALS = [
    ([0.99, 1.0], (0.5, -0.5), "trained"),  # 0: would dominate all, but is too big
    ([0.95, 0.5], (0.2, 0.1), "rejected"),  # 1: would dominate all, but is a guess
    ([0.90, 5.0], (-0.1, 0.0), "trained"),  # 2: on the front
    ([0.80, 2.0], (-0.2, -0.3), "trained"),  # 3: on the front
    ([0.70, 3.0], (-0.2, -0.3), "trained"),  # 4: dominated by 3
    ([0.90, 5.0], (-0.1, 0.0), "cached"),  # 5: trial 2 once more
    ([0.97, 0.4], (-0.9, -0.9), "diverged"),  # 6: would dominate all, but was never trained well
]
FRONT = [2, 3]


def fill(study: Study, trials: list[tuple[list[float], tuple[float, float], str]] = TRIALS) -> None:
    for values, (memory, energy), outcome in trials:
        trial = study.ask()
        trial.suggest_int("channels", 8, 64)
        trial.suggest_categorical("operation", ["skip", "conv3"])
        trial.set_constraint("memory_B", memory)  # the page gets them in the order of the names
        trial.set_constraint("energy_J", energy)
        trial.set_user_attr("outcome", outcome)
        study.tell(trial, values)


def new_study(storage: BaseStorage, name: str, *directions: Direction) -> Study:
    return optuna.create_study(
        storage=storage,
        study_name=name,
        directions=directions,
        sampler=optuna.samplers.RandomSampler(seed=0),
    )


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(verbosity)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[RDBStorage]:
    storage = RDBStorage(f"sqlite:///{tmp_path / 'store.db'}")
    yield storage
    storage.remove_session()
    storage.engine.dispose()


# --- asking ---


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    """A dashboard that runs in a process of its own, and its database."""

    port: int
    database: Path

    def ask(
        self,
        path: str,
        method: str = "GET",
        host: str | None = None,
        body: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        host = f"127.0.0.1:{self.port}" if host is None else host
        sent = {"Host": host, "Content-Type": "application/json", **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def raw(self, request: str) -> bytes:
        """The answer to exactly these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(request.encode())
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def content(self) -> list[str]:
        """All that the database holds, as SQL."""
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            return list(connection.iterdump())


@contextlib.contextmanager
def serving(database: Path) -> Iterator[Site]:
    command = [sys.executable, "-c", SERVE, f"sqlite:///{database}"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), url
            yield Site(int(url.rstrip("/").rsplit(":", 1)[1]), database)
            process.send_signal(signal.SIGINT)
            asked = time.monotonic()
            assert process.stdout.readline() == "stopped\n"
            assert time.monotonic() - asked < dashboard.QUIET_s / 2
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    database = tmp_path_factory.mktemp("store") / "store.db"
    storage = RDBStorage(f"sqlite:///{database}")
    with storage.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    study = new_study(storage, "digits", "maximize", "minimize")
    fill(study)
    study.ask()  # still running
    hostile = new_study(storage, HOSTILE, "minimize")
    hostile.set_user_attr(HOSTILE, HOSTILE)
    fill(hostile, [([1.0], (-1.0, -1.0), HOSTILE), ([2.0], (-1.0, -1.0), "trained")])
    storage.remove_session()
    storage.engine.dispose()
    with serving(database) as site:
        yield site


def ask(app: Any, path: str, port: int = 8080, **environ: str) -> Answer:
    """The answer of a WSGI application."""
    environment: dict[str, Any] = {
        "PATH_INFO": path,
        "HTTP_HOST": f"localhost:{port}",
        "wsgi.errors": io.StringIO(),
        **environ,
    }
    setup_testing_defaults(environment)
    started: list[Any] = []
    chunks = app(environment, lambda status, headers, *_: started.extend((status, headers)))
    body = b"".join(chunks)
    getattr(chunks, "close", lambda: None)()  # a file that is served
    return Answer(int(started[0][:3]), dict(started[1]), body)


# --- what is shown ---


def test_every_complete_trial_has_its_constraints(site: Site) -> None:
    trials = site.ask("/api/studies/1").json["trials"][: len(TRIALS)]
    shown = [trial["constraints"] for trial in trials]
    assert shown[:6] == [[energy, memory] for _, (memory, energy), _ in TRIALS[:6]]
    assert shown[6] == [-0.9, -0.9, 1.0]  # untrained: the page must not take it for a result


def test_best_trials_are_feasible_and_trained(site: Site) -> None:
    answer = site.ask("/api/studies/1")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert [trial["number"] for trial in answer.json["best_trials"]] == FRONT


def test_single_objective(storage: RDBStorage) -> None:
    study = new_study(storage, "one", "maximize")
    app = make_app(storage, port=8080)

    def best() -> list[int]:
        app = make_app(storage, port=8080)
        return [t["number"] for t in ask(app, "/api/studies/1").json["best_trials"]]

    assert ask(app, "/api/studies/1").json["best_trials"] == []
    fill(study, [([0.9], (0.1, -1.0), "trained"), ([0.8], (0.1, 0.1), "rejected")])
    assert best() == []  # the dashboard itself would show trial 0
    fill(study, [([0.6], (-1.0, -1.0), "trained"), ([0.7], (0.0, -1.0), "trained")])
    assert best() == [3]


def test_studies_of_others_need_no_outcome(storage: RDBStorage) -> None:
    study = new_study(storage, "theirs", "minimize", "minimize")
    for values, violation in (([0.0, 0.0], 1.0), ([1.0, 2.0], -1.0), ([2.0, 2.0], -1.0)):
        study.add_trial(create_trial(values=values, constraints={"c": violation}))
    study.add_trial(create_trial(values=[0.0, 3.0], system_attrs={"constraints": [0.0, -1.0]}))
    study.add_trial(create_trial(values=[5.0, 0.0]))
    detail = ask(make_app(storage, port=8080), "/api/studies/1").json
    assert [trial["number"] for trial in detail["best_trials"]] == [1, 3, 4]
    assert [t["constraints"] for t in detail["trials"]] == [[1.0], [-1.0], [-1.0], [0.0, -1.0], []]


def test_an_outcome_in_the_words_of_others_is_none_of_ours() -> None:
    theirs = create_trial(value=1.0, user_attrs={"outcome": "fine"})
    assert results([theirs]) == [theirs]
    assert listed(theirs) == []


def test_among_our_trials_one_without_outcome_is_no_result() -> None:
    ours = create_trial(value=1.0, user_attrs={"outcome": "trained"})
    assert results([ours, create_trial(value=0.0)]) == [ours]


def test_only_what_is_trained_equally_far_is_a_result() -> None:
    """As in successive halving: three of one epoch, one of which goes on to the third."""
    told = [("trained", 1.0), ("trained", 1.0), ("trained", 1.0)]
    first = [create_trial(value=n, user_attrs=attributes(*t)) for n, t in enumerate(told)]
    assert results(first) == first
    further = create_trial(value=9.0, user_attrs=attributes("continued", 3.0))
    assert results([*first, further]) == [further]


def attributes(outcome: str, epochs: float) -> dict[str, str | float]:
    return {"outcome": outcome, "epochs": epochs}


small = st.integers(0, 3)


@given(st.lists(st.tuples(small, small, small, st.sampled_from([-1.0, 0.0, 1.0])), max_size=20))
def test_front_is_that_of_optuna(candidates: list[tuple[int, int, int, float]]) -> None:
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage, directions=["maximize", "minimize", "minimize"])
    for *values, violation in candidates:
        study.add_trial(create_trial(values=values, constraints={"c": violation}))
    shown = ReadOnlyStorage(storage).get_all_trials(study._study_id)
    numbers = [trial.number for trial in front(shown, study.directions)]
    assert numbers == [trial.number for trial in study.best_trials]


def trial_with(system_attrs: dict[str, Any]) -> FrozenTrial:
    return FrozenTrial(
        0, TrialState.COMPLETE, 0.0, None, None, {}, {}, {}, system_attrs, {}, trial_id=1
    )


@pytest.mark.parametrize(
    ("attrs", "constraints"),
    [
        ({}, []),
        ({"constraints:b": 1.0, "constraints:a": -1.0}, [-1.0, 1.0]),
        ({"constraints": [0.5, -0.5], "constraints:a": -1.0}, [0.5, -0.5, -1.0]),
        ({"constraints:a": float("-inf")}, [-sys.float_info.max]),
        ({"constraints:a": float("inf")}, [sys.float_info.max]),
        ({"constraints:a": 10**400}, [sys.float_info.max]),
        ({"constraints:a": float("nan")}, [sys.float_info.max]),
        ({"constraints:a": "<script>"}, [sys.float_info.max]),
        ({"constraints": "<script>"}, [sys.float_info.max]),
        ({"constraints": {"a": None}}, [sys.float_info.max]),
        ({"constraints": [None, [0.0]]}, [sys.float_info.max] * 2),
    ],
)
def test_the_list_is_finite_whatever_the_store_holds(
    attrs: dict[str, Any], constraints: list[float]
) -> None:
    assert listed(trial_with(attrs)) == constraints
    assert json.loads(json.dumps(constraints, allow_nan=False)) == constraints


def test_a_trial_of_another_process_appears(tmp_path: Path) -> None:
    database = tmp_path / "store.db"
    storage = RDBStorage(f"sqlite:///{database}")
    fill(new_study(storage, "digits", "maximize", "minimize"))
    storage.engine.dispose()
    with serving(database) as site:
        assert len(site.ask("/api/studies/1").json["trials"]) == 7
        command = [sys.executable, "-c", ADD_TRIAL, f"sqlite:///{database}"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        until = time.monotonic() + 20  # the dashboard asks the store at most every 2 seconds
        while len(trials := site.ask("/api/studies/1").json["trials"]) == 7:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert trials[7]["constraints"] == [-0.5, -0.5]
        best = site.ask("/api/studies/1").json["best_trials"]
        assert [trial["number"] for trial in best] == [7]


# --- hooks ---


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The dashboard's module without our hooks, which come back after the test."""
    app = importlib.import_module("optuna_dashboard._app")
    pareto = importlib.import_module("optuna_dashboard._pareto_front")
    serializer = importlib.import_module("optuna_dashboard._serializer")
    monkeypatch.setattr(app, dashboard.FRONT, pareto.get_pareto_front_trials)
    monkeypatch.setattr(app, dashboard.DETAIL, serializer.serialize_study_detail)
    scan = importlib.import_module("optuna_dashboard._inmemory_cache")
    monkeypatch.setattr(app, dashboard.PROPERTIES, scan.get_cached_extra_study_property)
    return app


def test_the_hooks_make_the_difference(stock: ModuleType, storage: RDBStorage) -> None:
    fill(new_study(storage, "digits", "maximize", "minimize"))
    before = ask(stock.create_app(storage), "/api/studies/1").json
    assert [trial["number"] for trial in before["best_trials"]] == [0, 6]
    assert all(trial["constraints"] == [] for trial in before["trials"])
    after = ask(make_app(storage, port=8080), "/api/studies/1").json
    assert [trial["number"] for trial in after["best_trials"]] == FRONT
    assert all(trial["constraints"] for trial in after["trials"])


@pytest.mark.parametrize(
    "name", [dashboard.FRONT, dashboard.DETAIL, dashboard.PROPERTIES, "create_app"]
)
def test_a_dashboard_without_a_hooked_function_is_refused(
    stock: ModuleType, storage: RDBStorage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(stock, name)
    with pytest.raises(DashboardError, match=rf"{name}.*install optuna-dashboard==0\.21\.0"):
        make_app(storage, port=8080)


@pytest.mark.parametrize("name", ["FRONT", "DETAIL"])
def test_a_hook_that_the_dashboard_does_not_call_is_noticed(
    stock: ModuleType, storage: RDBStorage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(stock, "renamed", None, raising=False)
    monkeypatch.setattr(dashboard, name, "renamed")
    with pytest.raises(DashboardError, match=r"install optuna-dashboard==0\.21\.0"):
        make_app(storage, port=8080)


@pytest.mark.usefixtures("stock")
def test_a_dashboard_that_reads_another_attribute_is_noticed(
    storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    serializer = importlib.import_module("optuna_dashboard._serializer")
    monkeypatch.setattr(serializer, "CONSTRAINTS_KEY", "other")
    with pytest.raises(DashboardError, match=r"install optuna-dashboard==0\.21\.0"):
        make_app(storage, port=8080)


class Scans:
    """The study properties of a growing study, with our hook, and which trials it looks at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = importlib.import_module("optuna_dashboard._inmemory_cache")
        self.looked_at: list[int] = []
        self.cache = self.module.InMemoryCache()
        look = self.module._CachedExtraStudyProperty._update_user_attrs

        def note(itself: Any, trial: FrozenTrial) -> None:
            self.looked_at.append(trial.number)
            look(itself, trial)

        monkeypatch.setattr(self.module._CachedExtraStudyProperty, "_update_user_attrs", note)

    def ours(self, trials: list[FrozenTrial]) -> Any:
        self.looked_at.clear()
        properties = self.module.get_cached_extra_study_property
        return dashboard._scan(properties, self.cache, 1, trials)

    def fresh(self, trials: list[FrozenTrial]) -> Any:
        seen = list(self.looked_at)
        cache = self.module.InMemoryCache()
        answer = self.module.get_cached_extra_study_property(cache, 1, trials)
        self.looked_at[:] = seen
        return answer


def test_a_scan_looks_at_new_and_unfinished_trials_only(
    storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study(storage, "digits", "maximize", "minimize")
    view, scans = ReadOnlyStorage(storage), Scans(monkeypatch)

    def scan() -> list[int]:
        trials = view.get_all_trials(1, deepcopy=False)
        finished = [trial for trial in trials if trial.state.is_finished()]
        assert scans.ours(trials) == scans.fresh(finished)
        return sorted(scans.looked_at)

    assert scan() == []
    fill(study, TRIALS[:3])
    assert scan() == [0, 1, 2]
    assert scan() == []
    running = study.ask()
    fill(study, TRIALS[:1])
    assert scan() == [4]
    running.suggest_float("rate", 0.0, 1.0)
    running.set_user_attr("seconds", 1.5)
    assert scan() == [4]  # again, as there is one before it to come
    study.tell(running, [0.5, 0.5])
    assert scan() == [3, 4]
    assert scan() == []
    optuna.delete_study(study_name="digits", storage=storage)
    study = new_study(storage, "digits", "maximize", "minimize")
    study.tell(study.ask({"other": optuna.distributions.IntDistribution(0, 1)}), [0.0, 0.0])
    assert scan() == [0]  # of the new study, with nothing left of the old one


def test_waiting_trials_do_not_hide_the_parameters(storage: RDBStorage) -> None:
    study = new_study(storage, "one", "minimize")
    study.enqueue_trial({})
    app = make_app(storage, port=8080)
    assert ask(app, "/api/studies/1").json["intersection_search_space"] == []
    running = study.ask()
    running.report(0.5, step=1)
    study.add_trial(
        create_trial(
            value=1.0,
            params={"channels": 8},
            distributions={"channels": optuna.distributions.IntDistribution(8, 64)},
        )
    )
    study.enqueue_trial({})
    detail = ask(make_app(storage, port=8080), "/api/studies/1").json
    assert [space["name"] for space in detail["intersection_search_space"]] == ["channels"]
    assert detail["has_intermediate_values"]


# --- reading only ---


def test_every_writing_method_is_refused() -> None:
    storage = ReadOnlyStorage(InMemoryStorage())
    writing = [n for n in dir(BaseStorage) if n.startswith(("create_", "delete_", "set_"))]
    assert len(writing) == 10
    for name in writing:
        with pytest.raises(StoreError, match=f"only reads the store: {name} is refused"):
            getattr(storage, name)(1, "key", "value")


def routes(reading: bool) -> list[tuple[str, str]]:
    """Method and a path for every route of the dashboard that reads, or that writes."""
    app = importlib.import_module("optuna_dashboard._app").create_app(InMemoryStorage())
    names = {
        "<study_id:int>": "1",
        "<trial_id:int>": "1",
        "<history_id>": "1",
        "<plot_type>": "pareto_front",
        "<filename:path>": "bundle.js",
        "<artifact_id:re:[0-9a-fA-F-]+>": "0",
        "<:re:(/.*)?>": "/studies/1",
    }
    found = []
    for route in app.routes:
        path = route.rule
        for placeholder, value in names.items():
            path = path.replace(placeholder, value)
        assert "<" not in path, f"a new kind of route: {path}"
        if (route.method == "GET") == reading:
            found.append((route.method, path))
    return found


BODIES = {
    "tell": {"state": "Complete", "values": ["nan", 0]},
    "note": {"version": 1, "body": "x"},
    "rename": {"study_name": "y"},
    "user-attrs": {"user_attrs": {"outcome": "trained"}},
    "studies": {"study_name": "new", "directions": ["minimize"]},
}


def test_no_route_writes(site: Site) -> None:
    before = site.content()
    writing = routes(reading=False)
    assert ("DELETE", "/api/studies/1") in writing
    assert ("POST", "/incompatible-rdb-schema") in writing
    for method, path in writing:
        body = json.dumps(BODIES.get(path.rsplit("/", 1)[1], {}))
        answer = site.ask(path, method, body=body)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD"), (method, path)
    assert site.content() == before
    assert [s["study_name"] for s in site.ask("/api/studies").json["study_summaries"]] == [
        "digits",
        HOSTILE,
    ]


VERBS = "POST PUT DELETE PATCH OPTIONS TRACE CONNECT PROPFIND BREW get GETX ANY PROXY"


@pytest.mark.parametrize("verb", VERBS.split())
@pytest.mark.parametrize("path", ["/", "/dashboard", "/api/studies", "/nowhere", "/static/x"])
def test_other_verbs_are_refused(site: Site, verb: str, path: str) -> None:
    answer = site.ask(path, verb)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-Method-Override"])
def test_no_header_turns_a_get_into_a_delete(site: Site, header: str) -> None:
    before = site.content()
    assert site.ask("/api/studies/1?_method=DELETE", headers={header: "DELETE"}).status == 200
    assert site.content() == before


def test_reading_sends_the_database_nothing_but_select(storage: RDBStorage) -> None:
    fill(new_study(storage, "digits", "maximize", "minimize"))
    sent: list[str] = []

    @sqlalchemy.event.listens_for(storage.engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement.split()[0].upper())

    app = make_app(storage, port=8080)
    statuses = {path: ask(app, path).status for _, path in routes(reading=True)}
    for plot in ("contour", "slice", "parallel_coordinate", "rank", "edf", "timeline"):
        ask(app, f"/api/studies/1/plot/{plot}")
    assert statuses["/api/studies/1"] == statuses["/csv/1"] == 200
    assert statuses["/api/studies/1/plot/pareto_front"] == 200
    assert statuses["/incompatible-rdb-schema"] == 302  # to the dashboard: nothing to migrate
    assert set(sent) == {"SELECT"}


def test_a_finished_trial_is_read_once(storage: RDBStorage) -> None:
    study = new_study(storage, "digits", "maximize", "minimize")
    fill(study)
    running = study.ask()
    view = ReadOnlyStorage(storage)
    first = view.get_all_trials(1, deepcopy=False)
    running.set_user_attr("epoch", 1)
    second = view.get_all_trials(1, deepcopy=False)
    assert all(a is b for a, b in zip(first[:7], second[:7], strict=True))
    assert second[7].user_attrs == {"epoch": 1}


def test_the_trials_of_the_store_stay_as_they_are() -> None:
    storage = InMemoryStorage()
    fill(new_study(storage, "digits", "maximize", "minimize"))
    shown = ReadOnlyStorage(storage).get_all_trials(0, deepcopy=False)
    assert shown[0].system_attrs["constraints"] == [-0.5, 0.5]
    assert "constraints" not in storage.get_all_trials(0)[0].system_attrs


def test_a_copy_and_a_choice_of_states(storage: RDBStorage) -> None:
    study = new_study(storage, "digits", "maximize", "minimize")
    fill(study)
    study.ask()
    view = ReadOnlyStorage(storage)
    running = view.get_all_trials(1, states=(TrialState.RUNNING,))
    assert [trial.number for trial in running] == [7]
    assert view.get_all_trials(1)[0] is not view.get_all_trials(1)[0]
    assert view.get_trial(1).system_attrs["constraints"] == [-0.5, 0.5]


def test_a_study_made_anew_under_the_same_id_is_read_anew(storage: RDBStorage) -> None:
    view = ReadOnlyStorage(storage)
    for accuracy in (0.1, 0.2):
        study = new_study(storage, "digits", "maximize", "minimize")
        assert study._study_id == 1
        fill(study, [([accuracy, 1.0], (-1.0, -1.0), "trained")])
        assert view.get_all_trials(1)[0].values == [accuracy, 1.0]
        optuna.delete_study(study_name="digits", storage=storage)


# --- who may ask, and what goes with the answer ---


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "LOCALHOST:{}", "[::1]:{}"])
def test_own_names_are_answered(site: Site, host: str) -> None:
    assert site.ask("/api/studies", host=host.format(site.port)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "evil.example",
        "evil.example:{}",
        "127.0.0.1:{}@evil.example",
        "evil.example@127.0.0.1:{}",
        "user:password@localhost:{}",
        "127.0.0.1:{}.evil.example",
        "127.0.0.1.evil.example:{}",
        "localhost.:{}",
        "0.0.0.0:{}",
        "127.1:{}",
        "127.0.0.1:{},evil.example",
        "127.0.0.1:{}/",
        "127.0.0.1:0{}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_foreign_host_is_refused(site: Site, host: str, method: str) -> None:
    answer = site.ask("/api/studies", method, host=host.format(site.port))
    assert answer.status == 403
    assert b"digits" not in answer.body


@pytest.mark.parametrize(
    "request_",
    [
        "GET /api/studies HTTP/1.0\r\n\r\n",  # no Host at all
        "GET /api/studies HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nHost: evil.example\r\n\r\n",
        "GET http://127.0.0.1:{}/api/studies HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET /api/studies HTTP/1.0\r\nX-Forwarded-Host: 127.0.0.1:{}\r\n\r\n",
        "GET /api/studies\r\n\r\n",  # HTTP 0.9
    ],
)
def test_no_host_and_two_hosts_are_refused(site: Site, request_: str) -> None:
    answer = site.raw(request_.format(site.port))
    assert b"This dashboard answers to http://127.0.0.1" in answer
    assert b"digits" not in answer


def test_port_80_needs_no_number() -> None:
    app = make_app(InMemoryStorage(), port=80)
    assert ask(app, "/api/studies", HTTP_HOST="localhost").status == 200
    assert ask(app, "/api/studies", HTTP_HOST="localhost:80").status == 200
    assert ask(app, "/api/studies", HTTP_HOST="localhost:8080").status == 403


def test_head_has_the_headers_and_no_body(site: Site) -> None:
    for path in ("/dashboard", "/api/studies", "/static/bundle.js"):
        got, head = site.ask(path), site.ask(path, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert site.ask("/", "HEAD", host="evil.example").body == b""


PATHS = """/ /dashboard /api/studies /api/studies/1 /api/studies/99 /api/studies/1?after=x /nowhere
    /static/bundle.js /csv/1 /csv/2 /artifacts/1/0 /favicon.ico"""


@pytest.mark.parametrize("path", PATHS.split())
def test_every_answer_has_the_security_headers(site: Site, path: str) -> None:
    headers = site.ask(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers


def test_the_page_keeps_its_own_policy(site: Site) -> None:
    policy = site.ask("/dashboard").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "script-src 'self'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1]


def test_a_forwarded_host_does_not_lead_elsewhere(site: Site) -> None:
    answer = site.ask("/", headers={"X-Forwarded-Host": "evil.example"})
    assert answer.status == 302
    assert answer.headers["Location"] == f"http://127.0.0.1:{site.port}/dashboard"


def test_files_beside_the_static_ones_are_out_of_reach(site: Site) -> None:
    for path in ("/static/../_app.py", "/static/%2e%2e/_app.py", "/static/..%2f_app.py"):
        assert site.ask(path).status in (403, 404)


def test_a_client_that_names_no_encoding_is_served() -> None:
    app = make_app(InMemoryStorage(), port=8080)
    assert ask(app, "/static/bundle.js").status == 200


def test_a_hostile_study_is_data(site: Site) -> None:
    listing = site.ask("/api/studies")
    assert listing.headers["Content-Type"] == "application/json"
    study = listing.json["study_summaries"][1]
    assert study["study_name"] == HOSTILE
    assert study["user_attrs"] == [{"key": HOSTILE, "value": HOSTILE}]
    assert "\x1b" not in listing.body.decode()  # JSON says it as \u001b
    detail = site.ask("/api/studies/2").json
    assert {"key": "outcome", "value": HOSTILE} in detail["trials"][0]["user_attrs"]
    assert [trial["number"] for trial in detail["best_trials"]] == [1]
    csv = site.ask("/csv/2")
    assert csv.headers["Content-Type"].startswith("text/csv")
    assert csv.headers["Content-Disposition"].startswith("attachment")
    assert all(c.isprintable() for value in csv.headers.values() for c in value)


# --- serving ---


ELSEWHERE = ["0.0.0.0", "", "::", "192.168.0.1", "example.org", "127.0.0.2"]  # noqa: S104


@pytest.mark.parametrize("host", ELSEWHERE)
def test_other_hosts_are_refused(host: str) -> None:
    with pytest.raises(DashboardError, match="has no login, so it listens only on "):
        serve(InMemoryStorage(), host=host)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DashboardError, match=f"port {port} of 127.0.0.1: it is in use"):
            serve(InMemoryStorage(), port=port)


def test_an_impossible_port_is_named() -> None:
    with pytest.raises(DashboardError, match="port 99999 "):
        serve(InMemoryStorage(), port=99999)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost:"),
        ("127.0.0.1", "http://127.0.0.1:"),
        ("::1", "http://[::1]:"),
    ],
)
def test_ready_is_told_once_it_listens(host: str, url: str) -> None:
    if host == "::1":
        try:
            socket.create_server((host, 0), family=socket.AF_INET6).close()
        except OSError as error:
            pytest.skip(f"no IPv6 on this machine: {error}")
    seen: list[str] = []

    def on_ready(address: str) -> None:
        seen.append(address)
        port = int(address.rstrip("/").rsplit(":", 1)[1])
        socket.create_connection((host, port), timeout=5).close()
        raise KeyboardInterrupt  # before the loop: it ends the call as Ctrl-C does

    with pytest.raises(KeyboardInterrupt):
        serve(InMemoryStorage(), host=host, port=0, on_ready=on_ready)
    assert len(seen) == 1
    assert seen[0].startswith(url)


def test_a_silent_connection_holds_up_neither_others_nor_the_end(tmp_path: Path) -> None:
    storage = RDBStorage(f"sqlite:///{tmp_path / 'store.db'}")
    storage.engine.dispose()
    with contextlib.ExitStack() as silent, serving(tmp_path / "store.db") as site:
        connection = silent.enter_context(socket.create_connection(("127.0.0.1", site.port)))
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert site.ask("/api/studies").status == 200


def test_the_error_is_one_the_command_line_knows() -> None:
    assert issubclass(DashboardError, NasError)


# --- a browser ---


def browse(site: Site, path: str, folder: Path) -> str:
    """The page as the browser has it after its scripts have run."""
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1800"),
        *("--virtual-time-budget=15000", "--dump-dom", f"http://127.0.0.1:{site.port}{path}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


browser = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium")


@browser
def test_the_page_shows_the_study(site: Site, tmp_path: Path) -> None:
    dom = browse(site, "/dashboard/studies/1", tmp_path)
    assert "digits" in dom
    assert "Pareto Front" in dom
    assert "Infeasible" in dom  # the legend of the time line: the page knows them apart
    assert "NOW LOADING" not in dom


@browser
def test_the_page_shows_a_hostile_name_as_text(site: Site, tmp_path: Path) -> None:
    dom = browse(site, "/dashboard", tmp_path)
    assert "&lt;img src=x onerror=" in dom
    assert "<img src=" not in dom
    assert "<title>Optuna Dashboard</title>" in dom
