"""When a search ends by its clock, stalls or has exhausted its space, and how it continues."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nas_service import api
from nas_service.cli.main import main
from nas_service.errors import SpecError
from nas_service.samplers.distinct import LAST
from nas_service.searches.results import read
from nas_service.searches.stopping import end_reason, stalled
from nas_service.store.records import Archived, Claimed, Limits, Wait
from nas_service.store.store import Store
from nas_service.store.studies import IDLE_s, advance_clock
from nas_service.store.trial_queue import TrialQueue
from nas_service.study.loading import parse_spec
from nas_service.worker.worker import Worker

TREE = {
    "name": "x",
    "space": {
        "channels": [4, 8, 12], "head_pool": [2, 4], "hidden": [16, 32], "time_steps": [2, 3],
    },
    "data": {"name": "digits", "train_samples": 256, "validation_samples": 128},
    "training": {"epochs": 0},
    "search": {"trainings": 200, "sampler": "random"},
    "proxies": {"names": ["convolutions"]},
    "objectives": [
        {"metric": "proxy_convolutions", "direction": "maximize", "reference": 0, "ideal": 10},
        {"metric": "parameters", "direction": "minimize", "reference": 10000},
    ],
}  # fmt: skip


def spec(**search):
    return parse_spec(json.dumps(TREE | {"search": TREE["search"] | search}), "x")


def row(trial, convolutions, parameters, outcome="scored"):
    metrics = {"proxy_convolutions": convolutions, "parameters": parameters}
    return Archived(f"{trial}", trial, outcome, metrics, None)


# --- stall


@pytest.mark.parametrize(
    ("trainings", "gain", "ends"),
    [(1, 0.0, True), (2, 0.0, False), (2, 0.3, True), (2, 0.2, False), (4, 0.3, False)],
)
def test_a_stall_by_hand(trainings, gain, ends):
    """Volumes .2 * .5 = .1, then .1, then .125 (a gain of 25 %), then .125 again."""
    rows = [row(0, 2, 5000), row(1, 1, 5000), row(4, 2, 3750), row(5, 1, 8000)]
    rows.insert(2, row(3, 9, 1000, "rejected"))
    result = stalled(spec(early_stop={"patience": trainings, "min_gain": gain}), reversed(rows))
    assert bool(result) == ends
    if ends:
        assert str(result).startswith("stalled: hypervolume 0.1250 after 4 trainings, 0.1")


def test_nothing_stalls_before_the_hypervolume_is_above_0():
    rows = [row(n, 1, 50000) for n in range(5)]
    assert stalled(spec(early_stop={"patience": 2}), rows) is None
    assert stalled(spec(), [row(n, 1, 5000) for n in range(5)]) is None


def test_diverged_trainings_count():
    rows = [row(0, 2, 5000), row(1, 2, 500, "diverged"), row(2, 2, 500, "diverged")]
    assert stalled(spec(early_stop={"patience": 2}), rows)


def test_impossible_limits_are_refused():
    for wrong in (
        {"seconds": 0},
        {"early_stop": {"min_gain": 0.1}},
        {"early_stop": {"patience": 0}},
    ):
        with pytest.raises(SpecError, match="search"):
            spec(**wrong)
    with pytest.raises(SpecError, match="did you mean 'min_gain'"):
        spec(early_stop={"patience": 3, "min_gains": 1.0})


# --- the clock


def test_the_clock_counts_while_a_worker_works(store_url):
    store = Store(store_url, create=True)
    store.studies.add(1, "{}", "data", trainings=4)
    for now in (100.0, 110.0, 110.0 + IDLE_s, 115.0 + IDLE_s):  # a break, as long as a lease
        with store.exclusive(1) as db:
            advance_clock(db, 1, now)
    first, second = (TrialQueue(store, 1, worker) for worker in ("a/b/1/1", "c/d/1/1"))
    short, long = (Limits(100, 10, 3, seconds) for seconds in (15, 60))
    for reason in (first.claim(short, lambda _: 0), first.end(short)):
        assert reason.kind == "time"
        assert str(reason) == "time is up: 15 of 15 seconds, 0 trainings"
    assert first.end(long) is None
    assert isinstance(first.claim(long, lambda _: 0), Claimed)
    assert second.claim(short, lambda _: 1) == Wait()  # one trial is under way
    assert second.end(short) == Wait()
    store.close()


# --- whole searches


def run(store, **limits):
    search, evaluator = api.prepare(spec(**limits), lambda: store, Path())
    store.studies.set_budget(search.id, search.spec.search.trainings)
    why = Worker(search, evaluator, lambda text: None).run(60)
    return search, why


def status(store):
    done = CliRunner().invoke(main, ["status", "x", "--storage", str(store.url), "--json"])
    return json.loads(done.output)["ended"]


def test_a_stalled_search_ends_and_continues_with_a_larger_budget(store):
    search, why = run(store, early_stop={"patience": 3, "min_gain": 0.05})
    first = read(search)
    assert why.startswith("stalled: ")
    assert status(store) == why == end_reason(search)
    assert first.counts["trained"] > 3
    history = dict(first.hypervolume_history())
    paid = [c.trial for c in first.candidates if c.measured]
    before = history[paid[-4]]
    assert before > 0
    assert first.hypervolume <= 1.05 * before

    again, why = run(store, early_stop={"patience": 3, "min_gain": 0.05})
    assert read(again).counts == first.counts
    assert why.startswith("stalled: ")
    more, why = run(store, early_stop={"patience": 8})
    assert read(more).counts["trained"] >= first.counts["trained"] + 5
    plain = CliRunner().invoke(main, ["status", "x", "--storage", str(store.url)]).output
    assert "ended" in plain


def test_a_search_whose_time_is_up_continues_with_more_time(store):
    search, why = run(store, seconds=0.001)
    assert why.startswith("time is up: ")
    assert why.endswith(" of 0.001 seconds, 1 trainings")
    assert read(search).counts["complete"] >= 1
    assert status(store).endswith("of 0.001 seconds, 1 trainings")
    more, why = run(store, seconds=1000, trainings=4)
    assert why == "budget spent: 4 trainings" == status(store)
    assert read(more).counts["trained"] == 4


def test_limits_of_a_changed_file_reach_running_workers(store):
    search, evaluator = api.prepare(spec(), lambda: store, Path())
    worker = Worker(search, evaluator, lambda text: None)
    assert worker.run(1) == "1 trials done"
    api.prepare(spec(seconds=0.001, proposals_per_training=2), lambda: store, Path())
    assert worker.run(5).startswith("time is up")
    assert worker.search.spec.search.proposals_per_training == 2


def test_an_exhausted_space_ends_the_search(store):
    space = {"operations": ["zeroize", "conv3x3"], "shared": True, "channels": 4}
    space |= {"head_pool": 4, "hidden": 4, "time_steps": 1}
    small = parse_spec(json.dumps(TREE | {"space": space}), "x")
    search, evaluator = api.prepare(small, lambda: store, Path())
    assert end_reason(search) is None
    different = {a.digest: a for a in search.spec.build_space()}.values()
    for n, architecture in enumerate(different):
        queue = TrialQueue(store, search.id, "a/b/1/1")
        lease = queue.claim(Limits(10**9, 10, 3), lambda _, n=n: n).lease
        queue.archive_result(lease, evaluator.screen(architecture, 0))
        queue.result_reported(lease.id, "rejected")
    assert (
        end_reason(search)
        == f"space exhausted: all {len(different)} different candidates are known"
    )


@pytest.mark.parametrize("sampler", ["random", "greybox"])
def test_a_search_ends_when_all_within_its_budgets_are_known(store, sampler):
    """A few of 64 cells and two widths, fewer than the trainings; the others are not tried."""
    space = {"operations": ["zeroize", "conv3x3"], "cells": 1, "channels": [4, 8]}
    space |= {"head_pool": 4, "hidden": 16, "time_steps": 2}
    budget = {"metric": "parameters", "at_most": 1000}
    tree = TREE | {"space": space, "constraints": [budget], "search": {"sampler": sampler}}
    few = parse_spec(json.dumps(tree), "x")
    search, evaluator = api.prepare(few, lambda: store, Path())
    search.store.studies.set_budget(search.id, 40)
    workloads = evaluator.workloads
    within = {a.digest for a in workloads.space
              if a.connected and workloads.workload(a).parameters <= 1000}  # fmt: skip
    assert 2 < len(within) < 40
    why = Worker(search, evaluator, lambda text: None).run(200)
    assert why == f"space exhausted: all {len(within)} candidates within the budgets are known"
    assert status(store) == why
    result = read(search)
    assert {c.digest for c in result.candidates if c.measured} == within
    assert result.counts["cached"] <= 2 * LAST
