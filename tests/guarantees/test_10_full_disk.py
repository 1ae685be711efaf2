"""A full disk: the worker ends with exit code 4, the store can be read, the study goes on later."""

import sqlite3

import hands
import sqlalchemy as sa
from hands import Hand, History, Orders

SPARE = 3  # pages


def fill(store):
    """No more pages than there are, and a few."""
    with store.engine.connect() as db:
        pages = db.execute(sa.text("PRAGMA page_count")).scalar_one()
    store.rest()

    def limit(connection, _):
        connection.execute(f"PRAGMA max_page_count = {pages + SPARE}")

    sa.event.listen(store.engine, "connect", limit)


def test_10_full_disk(tmp_path):
    url = f"sqlite:///{tmp_path}/nas.db"
    hands.study(url, 20)
    full = Hand(Orders(url, tmp_path, before=fill))
    assert full.end() == 4, full.said
    assert "disk is full" in full.said
    assert "is away" not in full.said, "no waiting helps"
    with sqlite3.connect(tmp_path / "nas.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    done = len([a for a in History.of(url).attempts if a["ending"] == "won"])
    assert done < 20
    later = Hand(Orders(url, tmp_path))
    assert later.end() == 0, later.said
    History.of(url).check(20)
