"""Functions of optuna-dashboard that we replace, and how the dashboard starts and ends."""

import contextlib
import importlib
import socket
from pathlib import Path
from typing import Any

import optuna
import pytest
from dashboard_site import FRONT, TRIALS, ask, fill, new_study, serving
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, create_trial

from nas_service.dashboard import study_details
from nas_service.dashboard.server import DashboardError, make_app, serve
from nas_service.dashboard.study_details import NEEDED
from nas_service.dashboard.trials import DashboardStorage
from nas_service.errors import NasError


def test_our_answer_replaces_the_dashboard_s(storage: RDBStorage) -> None:
    fill(new_study(storage, "digits", "maximize", "minimize"))
    stock = importlib.import_module("optuna_dashboard._app").create_app(storage)
    before = ask(stock, "/api/studies/1").json
    assert [trial["number"] for trial in before["best_trials"]] == [0, 6]
    assert all(trial["constraints"] == [] for trial in before["trials"])
    after = ask(make_app(storage, port=8080), "/api/studies/1").json
    assert [trial["number"] for trial in after["best_trials"]] == FRONT
    assert all(trial["constraints"] for trial in after["trials"])
    differing = {"trials", "best_trials"}
    rest = [{k: v for k, v in d.items() if k not in differing} for d in (before, after)]
    assert rest[0] == rest[1]
    for old, new in zip(before["trials"], after["trials"], strict=True):
        assert {k for k in old if old[k] != new[k]} == {
            "constraints", "datetime_start", "datetime_complete"
        }  # fmt: skip


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in NEEDED.items() for n in names])
def test_a_dashboard_without_a_function_that_we_use_is_refused(
    storage: RDBStorage, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    monkeypatch.delattr(importlib.import_module(f"optuna_dashboard.{module}"), name)
    with pytest.raises(DashboardError, match=rf"{name}.*install optuna-dashboard==0\.21\.0"):
        make_app(storage, port=8080)


def test_a_dashboard_with_another_route_is_refused(
    storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_details, "RULE", "/api/study/<study_id:int>")
    with pytest.raises(DashboardError, match=r"no route.*install optuna-dashboard==0\.21\.0"):
        make_app(storage, port=8080)


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
        return study_details.scan(self.module, self.cache, 1, trials)

    def fresh(self, trials: list[FrozenTrial]) -> Any:
        seen = list(self.looked_at)
        cache = self.module.InMemoryCache()
        answer = self.module.get_cached_extra_study_property(cache, 1, trials)
        self.looked_at[:] = seen
        return answer


def test_a_scan_reads_new_and_unfinished_trials_only(
    storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study(storage, "digits", "maximize", "minimize")
    view, scans = DashboardStorage(storage), Scans(monkeypatch)

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
def test_readiness_is_reported_once_it_listens(host: str, url: str) -> None:
    if host == "::1":
        try:
            socket.create_server((host, 0), family=socket.AF_INET6).close()
        except OSError as error:
            pytest.skip(f"no IPv6 on this machine: {error}")
    seen: list[str] = []

    def on_ready(address: str) -> None:
        seen.append(address)
        port = int(address.rstrip("/").rsplit(":", 1)[1])
        socket.create_connection((host, port), timeout=30).close()
        raise KeyboardInterrupt  # before the loop: it ends the call as Ctrl-C does

    with pytest.raises(KeyboardInterrupt):
        serve(InMemoryStorage(), host=host, port=0, on_ready=on_ready)
    assert len(seen) == 1
    assert seen[0].startswith(url)


@pytest.mark.process
def test_an_idle_connection_delays_neither_requests_nor_shutdown(tmp_path: Path) -> None:
    storage = RDBStorage(f"sqlite:///{tmp_path / 'store.db'}")
    storage.engine.dispose()
    with contextlib.ExitStack() as silent, serving(tmp_path / "store.db") as site:
        connection = silent.enter_context(socket.create_connection(("127.0.0.1", site.port)))
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert site.ask("/api/studies").status == 200


def test_the_command_line_reports_the_error() -> None:
    assert issubclass(DashboardError, NasError)
