"""Databases without tables, for the tests of how tables are made."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import postgres


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty database of its own."""
    with postgres.database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file that does not exist yet."""
    return f"sqlite:///{tmp_path}/nas.db"
