"""A space too large to enumerate, with budgets that a small share of it keeps, and its scores."""

import json
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas_service.data.batches import batch
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.screening import Budgets
from nas_service.metrics import WORST_PROXY
from nas_service.samplers.greybox_cells import CellProblem
from nas_service.searches.optuna_trial import TRAINABLE
from nas_service.snn.proxies.scoring import score
from nas_service.snn.workload_cache import WorkloadCache
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.batch import CandidateBatch, sample_batch
from nas_service.statistics import spearman
from nas_service.study.loading import parse_spec
from nas_service.study.spec import StudySpec

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
BOUNDED = ("parameters", "area_mm2", "latency_ms", "energy_uJ")
PROXY = "sahd_n"
SCALE = {"reference": 60.0, "ideal": 90.0}  # of the score, for the hypervolume
SPACE = {
    "operations": "snasnet5",
    "channels": [4, 8, 12, 16, 20, 24],
    "head_pool": [1, 2, 4],
    "hidden": [16, 32, 64, 96, 128],
    "time_steps": [2, 3, 4, 5],
    "weight_bits": [4, 5, 6, 7, 8],
}
CHIP = {"crossbar_size": [32, 64, 128, 256], "adc_bits": [4, 5, 6, 7, 8]}
IMAGES = 32  # that the score is computed from
RANKED = 200  # feasible draws whose scores are compared with what is known of them


@dataclass(frozen=True, eq=False)
class Question:
    """The study that all samplers search, and every score computed so far."""

    feasible: float  # share of the space that keeps the budgets
    objectives: tuple[str, ...]
    draws: int  # for the budgets, and as many others for the share
    _scores: dict[str, float] = field(default_factory=dict, repr=False)

    def study(self, sampler: str, seed: int) -> StudySpec:
        return self._study(sampler, seed, self.budgets)

    def _study(self, sampler: str, seed: int, budgets: dict[str, float]) -> StudySpec:
        energy = {"metric": "energy_uJ", "reference": budgets.get("energy_uJ", 1.0)}
        known = {
            "score": {"metric": f"proxy_{PROXY}", "direction": "maximize", **SCALE},
            "energy": {**energy, "direction": "minimize"},
        }
        tree = {
            "name": "large",
            "seed": seed,
            "space": SPACE,
            "data": {"name": "digits"},
            "training": {"epochs": 0},
            "proxies": {"names": [PROXY], "samples": IMAGES},
            "hardware": {"assumed_rate": 0.05, "search_space": CHIP},
            "search": {"sampler": sampler},
            "objectives": [known[name] for name in self.objectives],
            "constraints": [{"metric": m, "at_most": most} for m, most in budgets.items()],
        }
        return parse_spec(json.dumps(tree), "search_large.py")

    # --- the space

    @cached_property
    def _free(self) -> StudySpec:
        """The study without budgets."""
        return self._study("random", 0, {})

    @cached_property
    def _unbounded(self) -> Budgets:
        return Budgets.of(self._free)

    @property
    def _workload_cache(self) -> WorkloadCache:
        return self._unbounded.workloads

    @cached_property
    def problem(self) -> CellProblem:
        return CellProblem(self.study("random", 0))

    def _draws(self, seed: int) -> tuple[CandidateBatch, dict[str, Floats], Flags]:
        """Draws, their costs, and which of them have a path."""
        drawn = sample_batch(self._workload_cache.space, self.draws, seed)
        costed = self._unbounded.costed(drawn)
        return drawn, costed.metrics, costed.connected

    @cached_property
    def budgets(self) -> dict[str, float]:
        """The same quantile of each metric that is bounded, by bisection."""
        _, costs, path = self._draws(seed=0)
        low, high = 0.0, 1.0
        for _ in range(30):
            middle = (low + high) / 2
            enough = _within(costs, path, _quantiles(costs, path, middle)).mean() >= self.feasible
            low, high = (low, middle) if enough else (middle, high)
        return _quantiles(costs, path, high)

    def feasible_draws(self, seed: int) -> list[Architecture]:
        """The draws of a seed that keep the budgets."""
        drawn, costs, path = self._draws(seed)
        rows = np.flatnonzero(_within(costs, path, self.budgets)).tolist()
        return [drawn.architecture(self._workload_cache.space, n) for n in rows]

    def facts(self) -> dict[str, Any]:
        """Size of the space, the share within the budgets, and what its scores correlate with."""
        feasible = self.feasible_draws(seed=1)
        part = self.problem.columns(
            [self._workload_cache.space.parameters(a) for a in feasible[:RANKED]]
        )
        scores = [self.score(a) for a in feasible[:RANKED]]
        known = {
            "depth_and_width": self.problem.describe(part).score,
            "energy_uJ": self.problem.costs(part)["energy_uJ"],
        }
        ranks = {name: spearman(values.tolist(), scores) for name, values in known.items()}
        return {
            "candidates": self._workload_cache.space.size,
            "budgets": self.budgets,
            "feasible": list(wilson(len(feasible), self.draws)),
            "ranked": len(scores),
            "dead": float(np.mean(np.array(scores) <= WORST_PROXY)),
            "rank_correlation": {n: [r.value, r.low, r.high] for n, r in ranks.items() if r},
        }

    # --- one candidate

    @cached_property
    def _evaluator(self) -> Evaluator:
        return Evaluator.open(self._free, Path())

    def score(self, architecture: Architecture) -> float:
        """Score of the network; its first weights follow from its digest without the chip."""
        network = replace(architecture, chip=())
        if network.digest not in self._scores:
            torch.manual_seed(int(network.digest[:12], 16))
            images, _ = batch(self._evaluator.images.data.train, slice(IMAGES))
            self._scores[network.digest] = score(
                PROXY, self._evaluator.network(network), images
            ).value
        return self._scores[network.digest]


def _quantiles(costs: dict[str, Floats], path: Flags, q: float) -> dict[str, float]:
    return {name: float(np.quantile(costs[name][path], q)) for name in BOUNDED}


def _within(costs: dict[str, Floats], path: Flags, budgets: dict[str, float]) -> Flags:
    kept = [costs[name] <= most for name, most in budgets.items()]
    return np.asarray(np.all([path, *kept], axis=0))


def wilson(hits: int, count: int) -> tuple[float, float, float]:
    """A share and its 95 % interval (Wilson, 1927)."""
    z, share = 1.96, hits / count
    middle, scale = share + z * z / (2 * count), 1 + z * z / count
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return share, (middle - half) / scale, (middle + half) / scale


@dataclass(frozen=True)
class Outcome:
    """What a worker reports of a candidate."""

    outcome: str
    values: dict[str, float]  # by metric
    constraints: dict[str, float]

    @property
    def feasible(self) -> bool:
        return all(v <= 0 for v in self.constraints.values())


def evaluate(
    question: Question, spec: StudySpec, params: dict[str, Any], known: set[str]
) -> Outcome:
    """Costs a candidate, and scores it unless it is over budget or without a path."""
    costs = {
        name: float(v[0])
        for name, v in question.problem.costs(question.problem.columns([params])).items()
    }
    over = spec.known_violations(costs)
    breaks = any(v > 0 for v in over.values())
    architecture = question.problem.architecture(params)
    scored = architecture.connected and not breaks
    value = question.score(architecture) if scored else WORST_PROXY
    outcome = "cached" if architecture.digest in known else "scored" if scored else "rejected"
    known.add(architecture.digest)
    values = {name: costs[name] for name in BOUNDED} | {f"proxy_{PROXY}": value}
    return Outcome(outcome, values, {**over, TRAINABLE: -1.0 if scored or breaks else 1.0})
