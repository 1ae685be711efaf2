"""A connection pooler between the workers and PostgreSQL."""

import pytest
import simulated
import sqlalchemy as sa
from servers import pgbouncer, postgres

from nas_service.store.joining_storage import _prepare_postgres
from nas_service.store.store import Store


class Connection:
    """A connection to a server whose session has another number than it says, or the same."""

    def __init__(self, own, session):
        self.info, self.session, self.prepare_threshold = self, session, 5
        self.backend_pid, self.autocommit = own, False

    def execute(self, query):
        return self

    def fetchone(self):
        return "20s", self.session


@pytest.mark.parametrize(("session", "threshold"), [(7, 5), (8, None)])
def test_no_statement_is_prepared_through_a_pooler(session, threshold):
    connection = Connection(7, session)
    _prepare_postgres(connection, None)
    assert (connection.prepare_threshold, connection.autocommit) == (threshold, False)


def test_statements_are_prepared_without_one(postgres_url):
    store = Store(postgres_url, create=True)
    with store.engine.connect() as db:
        assert db.connection.dbapi_connection.prepare_threshold == 5
        shown = db.execute(sa.text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    store.close()
    assert shown == "20s"


@pytest.mark.nightly
@pytest.mark.skipif(not pgbouncer.installed(), reason="needs PgBouncer")
def test_workers_share_two_connections_of_pgbouncer_in_transaction_mode(tmp_path, monkeypatch):
    """Without an option in the URL, whatever the pooler knows of prepared statements."""
    monkeypatch.setenv("NAS_SPOOL", str(tmp_path / "spool"))
    with (
        postgres.running() as server,
        pgbouncer.pooled(server, size=2) as pool,
        postgres.database(server.url) as url,
    ):
        simulated.make_study(url, simulated.spec("s", 24, "nsga2"))
        through = sa.make_url(pool).set(database=sa.make_url(url).database)
        text = through.render_as_string(hide_password=False)
        workers = [simulated.make_worker(text, "s", rejected=0.5) for _ in range(3)]
        for _ in range(8):
            for worker in workers:
                worker.run(max_trials=1)
        outcomes = workers[0].search.store.leases(workers[0].search.id).outcomes()
        for worker in workers:
            worker.asked_to_end.set()
            worker.search.store.close()
    assert len(outcomes) == 24
    assert set(outcomes.values()) <= {"trained", "rejected", "cached"}
