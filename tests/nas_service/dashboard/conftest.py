"""What the tests of the dashboard share: a quiet Optuna, a storage, and a dashboard that serves."""

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from dashboard_site import HOSTILE, Site, fill, new_study, serving
from optuna.storages import RDBStorage


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
