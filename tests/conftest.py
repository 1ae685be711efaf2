"""A private PostgreSQL for the tests: the one named by NAS_TEST_POSTGRES, or one started here."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import postgres

# As the service's workers run: one thread a process. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NAS_SPOOL", tempfile.mkdtemp(prefix="nas-spool-"))


@pytest.fixture(scope="session")
def postgres_programs() -> None:
    """PostgreSQL's server on this machine; where tests must not be left out, its lack fails."""
    if postgres.installed():
        return
    lack = "no PostgreSQL on this machine: install its server"
    if os.environ.get("CI"):
        pytest.fail(lack)
    pytest.skip(lack)


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a server on which databases may be made."""
    if url := os.environ.get("NAS_TEST_POSTGRES"):
        yield url
        return
    request.getfixturevalue("postgres_programs")
    with postgres.running() as server:
        yield server.url


@pytest.fixture
def own_postgres(postgres_programs: None) -> Iterator[postgres.Server]:
    """A server of the test's own, which it may stop and start."""
    with postgres.running() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty database of its own."""
    with postgres.database(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each kind of store, empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/nas.db"
    return str(request.getfixturevalue("postgres_url"))
