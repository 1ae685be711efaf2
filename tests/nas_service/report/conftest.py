"""A store with a study whose trials have the evaluations that a test gives."""

import pytest
from reported_studies import spec

from nas_service.searches import results
from nas_service.searches.creation import check, create
from nas_service.searches.optuna_trial import report_by_number
from nas_service.store.records import Limits
from nas_service.store.store import Store
from nas_service.store.trial_queue import TrialQueue


@pytest.fixture
def opened(sqlite_url):
    made = []

    def study(evaluations, **limits):
        store = Store(sqlite_url, write=True)
        search = create(store, check(spec(**limits)), "data")
        made.append(store)
        for e in evaluations:
            queue = TrialQueue(store, search.id, "me/b/1/1")
            lease = queue.claim(Limits(100, 10, 3), lambda _: search.study.ask().number).lease
            assert queue.archive_result(lease, e)
            report_by_number(search.study, search.spec, lease.trial, e, e.outcome)
            queue.result_reported(lease.id, e.outcome)
        return results.read(search)

    yield study
    for store in made:
        store.close()
