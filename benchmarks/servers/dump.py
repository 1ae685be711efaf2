"""All rows of a database, to see what a command has changed."""

import sqlalchemy as sa

from nas_service.store.database import checked_url


def connect(url: str) -> sa.Engine:
    """An engine that keeps no connection."""
    return sa.create_engine(checked_url(url), poolclass=sa.NullPool)


def rows(url: str) -> dict[str, list[str]]:
    """By table, each row as text, sorted."""
    with connect(url).connect() as db:
        names = sa.inspect(db).get_table_names()
        results = {
            name: db.execute(sa.select(sa.text("*")).select_from(sa.table(name))) for name in names
        }
        return {name: sorted(map(repr, results[name].all())) for name in names}
