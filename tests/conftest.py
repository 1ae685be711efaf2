"""Databases for the tests: one PostgreSQL server a run, and stores copied from one with tables.

The server is the one named by NAS_TEST_POSTGRES, or one that the first test to need it starts; all
processes of the run use it.
"""

import fcntl
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import warm
from browser import browser, page, page_log
from servers import postgres

from nas_service.worker.end_signals import ENDING

if TYPE_CHECKING:
    from nas_service.store.store import Store

# As the service's workers run: one thread a process. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
TESTS = Path(__file__).parent
__all__ = ["browser", "page", "page_log"]  # fixtures for all tests
LANES = ("process", "server", "training", "nightly")  # marks of all tests that are not quick
TRAINING = (  # folders and files whose tests train networks, run searches or compute for seconds
    "benchmarks/",
    "contracts/",
    "guarantees/test_24",
    "hw_models/test_calibration",
    "hw_models/test_peer_spikingjelly",
    "nas_service/cli/test_evaluate",
    "nas_service/cli/test_networks_given",
    "nas_service/data/test_packs",
    "nas_service/evaluation/test_ablation",
    "nas_service/evaluation/test_attainable",
    "nas_service/evaluation/test_feasible_set",
    "nas_service/evaluation/test_repair",
    "nas_service/evaluation/test_scoring",
    "nas_service/export/test_nir_format",
    "nas_service/export/test_peer_neurobench",
    "nas_service/export/test_round_trips",
    "nas_service/export/test_step_graph",
    "nas_service/importers/test_nir_layer_lists",
    "nas_service/importers/test_three_ways",
    "nas_service/report/",
    "nas_service/samplers/test_distinct",
    "nas_service/samplers/test_greybox",
    "nas_service/samplers/test_proposer",
    "nas_service/samplers/test_scores",
    "nas_service/searches/",
    "nas_service/snn/",
    "nas_service/spaces/test_architecture",
    "nas_service/spaces/test_cell_space",
    "nas_service/store/test_old_store",
    "test_end_to_end",
    "test_growing_study",
    "test_halving_",
)
MEMORY, LEAST_B = "/dev/shm", 6 * 2**30  # Linux's folder of memory; free bytes that are needed
RUN = "NAS_TEST_RUN"  # the variable that names the folder which the processes of a run share


def _hold_temporary_files_in_memory() -> None:
    """Thousands of stores are made: on a disk, most of that time is spent waiting for it.

    Not where the folder of memory is small, or programs may not be started from it.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    there = os.statvfs(MEMORY)
    if there.f_bavail * there.f_frsize >= LEAST_B and not there.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = MEMORY
        tempfile.tempdir = None  # it is read again


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # this is the run's first process
        _hold_temporary_files_in_memory()
        os.environ[RUN] = tempfile.mkdtemp(prefix="nas-tests-")
        os.chmod(os.environ[RUN], 0o711)  # noqa: S103  # the server runs as another user

    os.environ.pop("COLUMNS", None)  # output is not cut at the width of the terminal of the tests
    os.environ["NAS_SPOOL"] = tempfile.mkdtemp(prefix="spool-", dir=os.environ[RUN])
    # A shell, or nohup, ignores these for what runs in the background; the tests must not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        folder = Path(os.environ[RUN])
        postgres.remove(folder / "postgres")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Collects without garbage collection, which would go through all tests again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()  # what was collected stays to the end
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A run without trainings, such as the quick one, does not read their files."""
    if "not training" in config.option.markexpr and _is_training(collection_path):
        return True
    return None


def _is_training(path: Path) -> bool:
    return f"{os.path.relpath(path, TESTS)}/".startswith(TRAINING)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by their folder and by their fixtures; other marks are written at the tests."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if _is_training(item.path):
            item.add_marker(pytest.mark.training)
        if "postgres_programs" in fixtures or parameters.get("store_url") == "postgresql":
            item.add_marker(pytest.mark.server)
        if "browser" in fixtures:
            item.add_marker(pytest.mark.server)
        if "site" in fixtures:  # a dashboard in a separate process
            item.add_marker(pytest.mark.process)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """Tests of the quick lane cannot start processes."""
    _guard.in_quick_test = not any(item.get_closest_marker(lane) for lane in LANES)
    try:
        return (yield)
    finally:
        _guard.in_quick_test = False


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """With the last test of a run its servers are stopped, which is no deed of that test."""
    _guard.in_quick_test = False


class _Guard:
    """Fails quick tests that start processes.

    Except compilers, whose results are cached, and `uname`, which a library asks for once as it is
    imported, by whichever test comes first.
    """

    in_quick_test = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.in_quick_test or event not in ("subprocess.Popen", "os.fork"):
            return
        program = str(arguments[0]) if arguments else "a copy of itself"
        if not Path(program).name.startswith(("c++", "g++", "cc", "gcc", "clang", "uname")):
            pytest.fail(f"it starts {program}: mark it with pytest.mark.process")


_guard = _Guard()
sys.addaudithook(_guard)
warm.install()


@pytest.fixture
def cold_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that the test starts load the service for themselves, as in production."""
    monkeypatch.setattr(warm.STARTS, "enabled", False)


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """A worker that ran in a test's process leaves no signal handlers to the next test."""
    handlers = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def postgres_programs() -> None:
    """PostgreSQL's server on this machine; where tests must not be left out, its lack fails."""
    if postgres.installed() or os.environ.get("NAS_TEST_POSTGRES"):
        return
    lack = "no PostgreSQL on this machine: install its server"
    if os.environ.get("CI"):
        pytest.fail(lack)
    pytest.skip(lack)


@pytest.fixture(scope="session")
def postgres_server(postgres_programs: None) -> str:
    """URL of a server on which databases may be made."""
    if url := os.environ.get("NAS_TEST_POSTGRES"):
        return url
    folder = Path(os.environ[RUN])
    file = folder / "postgres-url"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            (folder / "postgres").mkdir()
            file.write_text(postgres.started(folder / "postgres").url)
    return file.read_text()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """Name of a database with the service's tables."""
    from nas_service.store.store import Store

    with postgres.database(postgres_server) as url:
        Store(url, create=True).close()
        yield url.rpartition("/")[2]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the service's tables."""
    from nas_service.store.store import Store

    path = tmp_path_factory.mktemp("template") / "nas.db"
    Store(f"sqlite:///{path}", create=True).close()
    return path


@pytest.fixture(scope="session")
def restarted_postgres(postgres_programs: None) -> Iterator[postgres.Server]:
    with postgres.running() as server:
        yield server


@pytest.fixture
def own_postgres(restarted_postgres: postgres.Server) -> Iterator[postgres.Server]:
    """A server that only this test uses and may stop and start."""
    yield restarted_postgres
    if not restarted_postgres.is_running:
        restarted_postgres.start()


@pytest.fixture
def own_postgres_url(own_postgres: postgres.Server) -> Iterator[str]:
    """An empty database of that server."""
    with postgres.database(own_postgres.url) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A new database with the service's tables."""
    with postgres.database(postgres_server, postgres_template) as url:
        yield url


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A new file, `nas.db`, with the service's tables."""
    shutil.copy(sqlite_template, tmp_path / "nas.db")
    return f"sqlite:///{tmp_path}/nas.db"


@pytest.fixture
def store(sqlite_url: str) -> "Iterator[Store]":
    """An SQLite store without studies, in the test's folder."""
    from nas_service.store.store import Store

    opened = Store(sqlite_url, write=True)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Each kind of store, with its tables and without studies."""
    kind = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(kind))
