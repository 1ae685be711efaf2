"""A trained network with all that is needed to use it where nothing else of its study is."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hw_models import Profile, Workload
from nas_service.data.batches import raw
from nas_service.data.images import Split
from nas_service.errors import StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.networks import build_network
from nas_service.evaluation.screening import profile_of
from nas_service.export.step_graph import StepGraph, step_graph
from nas_service.metrics import Evaluation, measure
from nas_service.snn.checkpoint import load_weights
from nas_service.snn.deployed import deployed
from nas_service.snn.network import Network
from nas_service.spaces.task import Task
from nas_service.study.plugin_records import records_of
from nas_service.study.spec import StudySpec

EXAMPLES = 3  # validation images that every exported file brings, with the scores they should get


@dataclass(frozen=True)
class Inputs:
    """What the network is given: (pixels - mean) / deviation by channel, and what it answers."""

    task: Task
    mean: tuple[float, ...]  # of each channel of the training images, in the pixels' own unit
    deviation: tuple[float, ...]
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, evaluator: Evaluator) -> "Inputs":
        """The inputs of a study's candidates."""
        source, data = evaluator.images.source, evaluator.images.data
        mean, deviation = (tuple(map(float, x)) for x in (data.mean, data.deviation))
        return cls(source.task, mean, deviation, source.class_names(evaluator.folder))

    def scaled(self, pixels: Tensor) -> Tensor:
        """Raw pixels [..., C, H, W] as the network reads them, float32 of the same shape."""
        mean, deviation = (torch.tensor(x)[:, None, None] for x in (self.mean, self.deviation))
        return (pixels.float() - mean) / deviation


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A trained candidate of a study."""

    spec: StudySpec
    evaluation: Evaluation
    inputs: Inputs
    network: Network  # in evaluation mode
    profile: Profile  # of its chip, with the settings that were searched beside the network
    workload: Workload  # with its spike rates
    examples: Tensor  # raw pixels of validation images [EXAMPLES, ...]
    facts: dict[str, Any]  # what else is known, as JSON values: its study, trial, data, ...

    @cached_property
    def deployed(self) -> Network:
        """The network in integers, with batch norms folded."""
        return deployed(self.network)

    @cached_property
    def graph(self) -> StepGraph:
        """One time step of the deployed network."""
        return step_graph(self.deployed, self.inputs.task.image_shape)

    def scores(self, pixels: Tensor) -> Tensor:
        """Class scores [B, classes] of raw pixels [B, ...], by the deployed network."""
        with torch.no_grad():
            scores: Tensor = self.deployed(self.inputs.scaled(pixels))
        return scores

    def document(self) -> dict[str, Any]:
        """Everything about the network but its weights, as JSON values."""
        e, task = self.evaluation, self.inputs.task
        return {
            **self.facts,
            "architecture": e.architecture.to_json(),
            "input": {
                "shape": list(task.image_shape),
                "encoding": task.encoding,
                "time_steps": e.architecture.time_steps,
                "largest": task.largest,
                "mean": list(self.inputs.mean),
                "deviation": list(self.inputs.deviation),
            },
            "classes": list(self.inputs.class_names),
            "chip": {
                "profile": self.profile.name,
                "digest": self.profile.digest,
                "settings": self.profile.settings,
            },
            "metrics": measure(e),
            "on_chip": list(e.on_chip),
            "spike_rates": e.spike_rates,
            "seed": e.seed,
            "epochs": e.fidelity,
            "versions": e.versions,
            "study": self.spec.model_dump(mode="json"),
            "plugins": [record.to_json() for record in records_of(self.spec)],
        }


def trained_network(
    evaluator: Evaluator, evaluation: Evaluation, weights: Path, facts: dict[str, Any]
) -> TrainedNetwork:
    """Reads the weights of a trained candidate.

    Args:
        evaluator: Of the candidate's study, on this machine's data.
        evaluation: The candidate as it was measured.
        weights: File of its weights.
        facts: What is known of it beside, as JSON values.

    Returns:
        The network.

    Raises:
        StudyError: The candidate was not trained.
        DataError: The file of weights is missing or damaged.
    """
    if not evaluation.trained:
        reason = f" ({evaluation.reason})" if evaluation.reason else ""
        raise StudyError(f"it was {evaluation.outcome}{reason}: there are no weights to export")
    architecture = evaluation.architecture
    network = build_network(
        evaluator.spec, evaluator.images.source.task, architecture, torch.device("cpu")
    )
    load_weights(network, weights)
    split = evaluator.images.split(architecture.time_steps)
    return TrainedNetwork(
        evaluator.spec,
        evaluation,
        Inputs.of(evaluator),
        network.eval(),
        profile_of(evaluator.spec, architecture.chip),
        evaluator.workload(architecture).with_spike_rates(evaluation.spike_rates),
        raw(split.validation, slice(EXAMPLES)),
        facts | _data_facts(evaluator, split, facts.get("test_accuracy") is not None),
    )


def _data_facts(evaluator: Evaluator, split: Split, tested: bool) -> dict[str, Any]:
    """Origin of the data and numbers of images; of test images where the network saw them."""
    source, steps = evaluator.images.source, min(evaluator.spec.space.time_steps)
    test = {"test_images": len(evaluator.images.test(steps))} if tested else {}
    return {
        "data": {
            "name": evaluator.spec.data.name,
            "digest": evaluator.data_digest,
            "licence": source.licence,
            "home": source.home,
            "training_images": len(split.train),
            "validation_images": len(split.validation),
            **test,
        }
    }
