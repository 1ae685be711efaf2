"""Workers with simulated trainings on a real store, for the benchmarks and tests of the store.

A candidate's outcome is drawn by its digest: a share is rejected, others are trained for a while
and get an accuracy. Everything else is the service's own: sampler, claims, tells, leases, spool.
"""

import functools
import hashlib
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from hw_models import HardwareReport, Layer, Workload, load_profile
from nas_service.metrics import Evaluation
from nas_service.searches.creation import check, create
from nas_service.searches.session import open_search
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.store.store import Store
from nas_service.study.loading import parse_spec
from nas_service.study.spec import StudySpec
from nas_service.worker.end_signals import end_on_signals
from nas_service.worker.worker import Worker

# 12 edges and 8 sizes: 20 parameters.
SPACE = {
    "operations": "snasnet5",
    "channels": [[4, 8, 12, 16], [4, 8, 12, 16]],
    "head_pool": [1, 2, 4],
    "hidden": [16, 32, 64],
    "time_steps": [2, 3, 4],
    "weight_bits": [4, 6, 8],
}
CHIP = {"crossbar_size": [64, 128], "adc_bits": [4, 6]}
CONSTRAINTS = {"parameters": 1e6, "area_mm2": 100.0, "latency_ms": 100.0, "energy_uJ": 100.0}
DATA = "0" * 16
SIZES = 32  # different costs that there are


def spec(
    name: str,
    trainings: int,
    sampler: str = "random",
    space: Mapping[str, Any] = SPACE,
    seed: int = 0,
    **search: Any,
) -> StudySpec:
    tree = {
        "name": name,
        "seed": seed,
        "space": space,
        "hardware": {"profile": "corrected", "search_space": CHIP},
        "data": {"name": "digits"},
        "training": {"epochs": 1},
        "objectives": [
            {"metric": "accuracy", "direction": "maximize"},
            {"metric": "energy_uJ", "direction": "minimize", "reference": 100.0},
        ],
        "constraints": [{"metric": m, "at_most": v} for m, v in CONSTRAINTS.items()],
        "search": {"trainings": trainings, "sampler": sampler, **search},
    }
    return parse_spec(json.dumps(tree), name)


def drawn(architecture: Architecture, purpose: str = "") -> float:
    """A share that is the candidate's own, 0..1."""
    text = architecture.digest + purpose
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


@functools.cache
def report(inputs: int) -> HardwareReport:
    readout = Layer("readout", "linear", inputs, 10)
    return load_profile("corrected").estimate(Workload((readout,), 2))


@dataclass(frozen=True)
class Evaluator:
    """Replaces the service's own evaluator; builds and traces nothing."""

    spec: StudySpec
    rejected: float = 0.0  # share of candidates
    folder: Path = Path()
    data_digest: str = DATA
    density: InputDensity = ASSUMED

    def screen(self, architecture: Architecture, seed: int) -> Evaluation:
        costs = report(8 + int(SIZES * drawn(architecture, "costs")))
        screened = Evaluation(architecture, "screened", costs, 0.1, seed)
        over = drawn(architecture) < self.rejected
        return screened.reject("drawn to be over a budget", ()) if over else screened

    def with_last_epoch(self, last_epoch: int) -> "Evaluator":
        return self

    def ended_early(self, evaluation: Evaluation) -> bool:
        return False

    def delete_checkpoint(self, measured: Evaluation, weights: Path) -> None:
        """Nothing was kept."""

    def proxies(self, architecture: Architecture) -> dict[str, float]:
        return {}


def costed() -> None:
    """Works out all costs, so that processes forked from here need not."""
    for n in range(SIZES):
        report(8 + n)


def training(seconds: Callable[[Architecture], float]) -> Callable[..., Evaluation]:
    """Trainings that wait for some seconds, and check for an interrupt ten times a second."""

    def train(
        evaluator: Evaluator, begun: Evaluation, weights: Path, check_interrupt: Callable[[], None]
    ) -> Evaluation:
        end = time.monotonic() + seconds(begun.architecture)
        while (left := end - time.monotonic()) > 0:
            check_interrupt()
            time.sleep(min(left, 0.1))
        share = drawn(begun.architecture, "accuracy")
        return replace(begun, outcome="trained", fidelity=1, accuracy=share, spike_rate=0.1)

    return train


def make_study(url: str, study: StudySpec) -> None:
    """Creates a study, and the store's tables where there are none."""
    store = Store(url, create=True)
    create(store, check(study), DATA)
    store.close()


def make_worker(
    url: str,
    name: str,
    train: Callable[..., Evaluation] | None = None,
    rejected: float = 0.0,
    lease_s: float = 60.0,
    report: Callable[[str], None] = lambda text: None,
    worker: str | None = None,
) -> Worker:
    """A worker in this process, on a study of the store; its name may be another."""
    store = Store(url)
    store.lease_s = lease_s
    search = open_search(store, name)
    evaluator = Evaluator(search.spec, rejected)
    train = train or training(lambda a: 0.0)
    return Worker(search, evaluator, report, train=train, name=worker)  # type: ignore[arg-type]


def work(worker: Worker, max_trials: int | None = None) -> str:
    """Runs a worker and closes its store; returns why it ended."""
    end_on_signals(worker.asked_to_end)
    try:
        return worker.run(max_trials)
    finally:
        worker.search.store.close()


def forked(act: Callable[[], object], log: Path) -> int:
    """Runs `act` in a fork of this process, which then exits, and returns its pid."""
    pid = os.fork()
    if not pid:
        run_and_exit(act, log)
    return pid


def run_and_exit(act: Callable[[], object], log: Path) -> NoReturn:
    """Ends this process after `act`: with 0, an error's own exit code, or 1.

    What it prints and raises goes to the end of a file.
    """
    code = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        act()
        code = 0
    except BaseException as error:
        traceback.print_exc()
        code = getattr(error, "exit_code", 1)
    finally:
        os._exit(code)
