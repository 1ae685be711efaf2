"""Sessions of a PostgreSQL server while it is under load, and the CPU that they take."""

import contextlib
import os
import statistics
from pathlib import Path

import sqlalchemy as sa

from nas_service.store.database import checked_url


class Sessions:
    """Samples of the sessions of a PostgreSQL server; there are none for an SQLite file."""

    def __init__(self, url: str) -> None:
        parsed = checked_url(url)
        self._db: sa.Connection | None = None
        self._samples: list[tuple[int, int]] = []
        if parsed.get_backend_name() == "postgresql":
            engine = sa.create_engine(parsed, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
            self._db = engine.connect()
            backend = int(self._db.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())
            self._server = _parent(backend)
            self._cpu_s = _cpu_s(self._server)

    def sample(self) -> None:
        """Counts the sessions, and those that wait for a lock."""
        if self._db is not None:
            query = sa.text(
                "SELECT count(*), count(*) FILTER (WHERE wait_event_type = 'Lock') "
                "FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
            count, waiting = self._db.execute(query).one()
            self._samples.append((count, waiting))

    def end(self) -> dict[str, float] | None:
        """Figures of all samples, and CPU seconds of the server since the first."""
        if self._db is None:
            return None
        spent = _cpu_s(self._server) - self._cpu_s
        self._db.close()
        return {
            "peak_connections": max(count for count, _ in self._samples),
            "waiting_for_the_row": statistics.mean(waiting for _, waiting in self._samples),
            "server_cpu_s": spent,
        }


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _cpu_s(server: int) -> float:
    """CPU seconds of the server, of its ended sessions and of its open ones."""
    ticks = sum(map(int, _stat(server)[11:15]))
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((of := _stat(int(entry.name)))[1]) == server:
                ticks += int(of[11]) + int(of[12])
    return ticks / os.sysconf("SC_CLK_TCK")
