"""Statements and migrations on a store's database, for the tests of its tables."""

import sqlalchemy as sa
from servers.dump import connect

from nas_service.store import migration
from nas_service.store.database import checked_url


def execute(url, *statements):
    with connect(url).begin() as db:
        for words in statements:
            db.execute(sa.text(words))


def migrated(url):
    return migration.migrate(checked_url(url))
