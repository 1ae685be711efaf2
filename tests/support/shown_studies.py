"""A store of studies with every kind of candidate, at real costs, for the tests of pages."""

import tomllib
from dataclasses import replace

import optuna
from dashboard_site import HOSTILE
from stored_studies import finish

from nas_service.evaluation.screener import Screener
from nas_service.evaluation.screening import workload_cache_of
from nas_service.metrics import Evaluation
from nas_service.searches.creation import check, create
from nas_service.searches.session import Search
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.store.process_id import worker_name
from nas_service.store.records import Claimed, Limits
from nas_service.store.store import Store
from nas_service.store.trial_queue import TrialQueue
from nas_service.study.loading import spec_from_tables

STUDY = """
name = "{name}"
seed = 1
[space]
operations = "snasnet5"
channels = [4, 8, 12, 16]
head_pool = 2
hidden = 16
time_steps = [2, 3, 4]
[data]
name = "digits"
[training]
epochs = 8
[hardware]
profile = "corrected"
[proxies]
names = ["depth"]
[search]
trainings = 12
sampler = "{sampler}"
[[objectives]]
metric = "accuracy"
direction = "maximize"
reference = 0.8
[[objectives]]
metric = "energy_uJ"
direction = "minimize"
[[constraints]]
metric = "energy_uJ"
at_most = 0.7
[[constraints]]
metric = "area_mm2"
at_most = 8.02
"""
SMALL = Cell(("conv1x1", "skip", "zeroize", "conv1x1", "zeroize", "avgpool3x3"))
DEEP = Cell(("conv3x3", "skip", "skip", "conv3x3", "conv1x1", "conv3x3"))
# channels, time steps, cell, accuracy (None: rejected), share of inputs that spike
CANDIDATES = [
    (4, 2, SMALL, 0.83, 0.08),  # 0: on the front
    (8, 2, SMALL, 0.88, 0.08),  # 1: on the front
    (8, 3, SMALL, 0.87, 0.10),  # 2: feasible, dominated by 1
    (12, 2, SMALL, 0.92, 0.09),  # 3: on the front
    (8, 2, DEEP, 0.75, 0.08),  # 4: below reference
    (4, 3, SMALL, 0.62, 0.06),  # 5: below reference, and cheaper than 1
    (16, 2, SMALL, 0.95, 0.10),  # 6: on the front
    (16, 4, DEEP, 0.99, 0.15),  # 7: trained, over both budgets: the most accurate of all
    (12, 4, DEEP, None, 0.10),  # 8: rejected before training
    (16, 3, DEEP, None, 0.10),  # 9: rejected before training
]
FRONT, FEASIBLE, BELOW, OVER = [6, 3, 1, 0], [2], [4, 5], 7
FAILED = "out of memory in epoch 3"


def fill_store(store: Store) -> Search:
    """Four studies: `digits` with every kind of candidate, two smaller ones, and another's."""
    optuna.create_study(storage=store.optuna, study_name=HOSTILE)
    _study(store, "empty", "random", [])
    _study(store, "baseline", "random", CANDIDATES[:3])
    search = _study(store, "digits", "nsga2", CANDIDATES)
    store.lease_s = 3600.0  # the worker stays alive
    queue = TrialQueue(store, search.id, worker_name())
    for fails in (True, False):  # the second one is still under way
        claim = queue.claim(Limits(100, 10, 3), lambda _: search.study.ask().number)
        assert isinstance(claim, Claimed), claim
        if fails:
            queue.fail(claim.lease, FAILED)
    return search


def _study(store: Store, name: str, sampler: str, candidates: list[tuple]) -> Search:
    spec = spec_from_tables(tomllib.loads(STUDY.format(name=name, sampler=sampler)))
    search = create(store, check(spec), "data")
    screener = Screener(spec, workload_cache_of(spec))
    for row in candidates:
        finish(search, _evaluation(screener, *row))
    return search


def _evaluation(
    screener: Screener, channels: int, steps: int, cell: Cell, accuracy: float | None, rate: float
) -> Evaluation:
    architecture = Architecture((cell, cell), channels, 2, 16, steps, 8)
    workload = screener.workloads.workload(architecture)
    rates = {layer.name: rate for layer in workload.layers}
    hardware, bounds = screener.costs(architecture, workload.with_spike_rates(rates))
    measured = Evaluation(
        architecture, "rejected", hardware, 0.1, 1, bounds=bounds, proxies={"depth": 2.0},
        reason="energy_uJ 40 % over budget", rejected_by=("energy_uJ",),
        repair=screener.workloads.space.parameters(replace(architecture, channels=4)),
    )  # fmt: skip
    if accuracy is None:
        return measured
    curve = tuple((e, accuracy - 0.3 / e + 0.0375) for e in range(1, 9))
    return replace(
        measured, outcome="trained", fidelity=8, accuracy=accuracy, spike_rates=rates,
        spike_rate=rate, curve=curve, reason="", rejected_by=(), repair={},
        proxies={"depth": float(channels)}, seconds=3.0, versions={"nas-service": "0.1.0"},
    )  # fmt: skip
