"""What a child does: one training on the worker's bench, which it finds open."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nas_service.evaluation.environment import device
from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import Evaluation
from nas_service.snn.int8 import reason_against
from nas_service.snn.neurons import backend_name
from nas_service.snn.precision import autocast
from nas_service.study.spec import StudySpec, parse_spec

torch.set_num_threads(1)
_benches: dict[tuple[str, Path], Evaluator] = {}


def _bench(spec: StudySpec, folder: Path) -> Evaluator:
    """The one that was used before, unless more has changed than how long trainings are."""
    key = spec.model_dump_json(exclude={"training", "search"}), folder
    if key not in _benches:
        found = Evaluator.open(spec, folder)
        _benches.clear()
        _benches[key] = found
    return replace(_benches[key], spec=spec)


def prepare(job: dict[str, Any]) -> None:
    """Data, the candidate's shapes, and what a process finds out about its machine once, on the
    processor: a process that has touched a GPU cannot fork."""
    spec, candidate = parse_spec(job["spec"], "job"), Evaluation.from_json(job["candidate"])
    backend_name()
    if job["device"] == "cpu":
        autocast(spec.training.precision == "bf16")
    if spec.quantization.scoring == "int8":
        reason_against()
    _bench(spec, Path(job["data"])).workload(candidate.architecture)


def begin(job: dict[str, Any]) -> Callable[[Callable[[], None]], Any]:
    bench = _bench(parse_spec(job["spec"], "job"), Path(job["data"]))
    os.environ["NAS_DEVICE"] = job["device"]
    bench = replace(bench, device=device())
    candidate, weights = Evaluation.from_json(job["candidate"]), Path(job["weights"])

    def work(check_interrupt: Callable[[], None]) -> Any:
        train = bench.resume_training if job["further"] else bench.train
        return train(candidate, weights, check_interrupt).to_json()

    return work
