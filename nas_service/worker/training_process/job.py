"""What a child does: one training with the evaluator that the fork server has opened."""

import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nas_service.errors import SpecError
from nas_service.evaluation.environment import device
from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import Evaluation
from nas_service.snn.int8 import reason_against
from nas_service.snn.neurons import backend_name
from nas_service.snn.precision import autocast
from nas_service.spaces.input_density import InputDensity
from nas_service.study import plugins
from nas_service.study.loading import parse_spec
from nas_service.study.spec import StudySpec

torch.set_num_threads(1)
# The first optimizer of a process loads a part of torch for seconds: once here, not in each child.
torch.optim.AdamW([torch.empty(0)])
_evaluators: dict[tuple[str, Path, InputDensity | None], Evaluator] = {}


def prepare(job: dict[str, Any]) -> None:
    """In the fork server: reads the data, traces the candidate's shapes, and finds out once what
    the machine can do. Only the processor is used: a process that has touched a GPU cannot fork.
    """
    _load_plugins(job)
    spec, candidate = (
        parse_spec(job["spec"], "job", stored=True),
        Evaluation.from_json(job["candidate"]),
    )
    backend_name()
    if job["device"] == "cpu":
        autocast(spec.training.precision == "bf16")
    if spec.quantization.scoring == "int8":
        reason_against()
    _evaluator(spec, job).workload(candidate.architecture)


def begin(job: dict[str, Any]) -> Callable[[Callable[[], None]], Any]:
    """In the child: all that can fail without the candidate's fault; returns the training."""
    _load_plugins(job)
    evaluator = _evaluator(parse_spec(job["spec"], "job", stored=True), job)
    os.environ["NAS_DEVICE"] = job["device"]
    evaluator = replace(evaluator, device=device())
    candidate, weights = Evaluation.from_json(job["candidate"]), Path(job["weights"])

    def work(check_interrupt: Callable[[], None]) -> Any:
        if job["one_batch"]:
            _train_one_batch(evaluator, candidate, check_interrupt)
            return job["candidate"]
        train = evaluator.resume_training if job["resume"] else evaluator.train
        return train(candidate, weights, check_interrupt).to_json()

    return work


def _load_plugins(job: dict[str, Any]) -> None:
    """Loads the plug-ins that the worker has loaded; SpecError where a file is another one now."""
    plugins.load_named(os.environ)
    if not {*job["plugins"]} <= {plugin.digest for plugin in plugins.LOADED}:
        raise SpecError("a plug-in was changed since the worker loaded it: start the worker anew")


class _Enough(Exception):
    """One batch was trained."""


def _train_one_batch(
    evaluator: Evaluator, candidate: Evaluation, check_interrupt: Callable[[], None]
) -> None:
    """Begins a training as any other, and ends it before its second batch."""
    batches = itertools.count()

    def check() -> None:
        check_interrupt()
        if next(batches):
            raise _Enough

    with suppress(_Enough):
        evaluator.train(candidate, check_interrupt=check)


def _evaluator(spec: StudySpec, job: dict[str, Any]) -> Evaluator:
    """The evaluator of the last job, unless more has changed than how long trainings are."""
    density, folder = job["density"] and InputDensity.from_json(job["density"]), Path(job["data"])
    key = spec.model_dump_json(exclude={"training", "search"}), folder, density
    if key not in _evaluators:
        opened = Evaluator.open(spec, folder, density=density)
        _evaluators.clear()
        _evaluators[key] = opened
    return replace(_evaluators[key], spec=spec)
