"""One training of one candidate: its checkpoint, its inherited weights, its learning curve."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nas_service.data.batches import StoredImages
from nas_service.data.images import Images, Split
from nas_service.errors import DataError
from nas_service.metrics import Evaluation
from nas_service.snn import checkpoint, inheritance
from nas_service.snn.network import Network
from nas_service.snn.training import Recipe, fit, recalibrate, recalibrated
from nas_service.study.sections import Training
from nas_service.study.spec import StudySpec

Curve = tuple[tuple[int, float], ...]  # epochs and the accuracies after them


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """All that a training needs beside the network and the candidate."""

    plan: Training
    recipe: Recipe
    images: Split
    device: torch.device
    accuracy: Callable[[Network, Images], float]  # as the study scores networks
    saved: checkpoint.CheckpointFile | None = None
    pool: Path | None = None  # weights that the candidates of a study share

    def train(
        self,
        network: Network,
        candidate: Evaluation,
        check_interrupt: Callable[[], None],
        on_epoch: Callable[[int, float], None],
    ) -> Evaluation:
        """Trains the network to the last epoch of the plan, or continues from the checkpoint.

        Args:
            network: Changed in place; with its batch norms recalibrated where the plan ends early.
            candidate: Whose seed draws the batches, and whose learning curve is continued.
            check_interrupt: Called before every batch; may raise to end the training.
            on_epoch: Called after every epoch with its number and its mean loss.

        Returns:
            The candidate with its learning curve and its share of inherited weights.

        Raises:
            Diverged: The loss or a weight is not finite any more.
        """
        plan, train = self.plan, StoredImages(self.images.train)
        notes = {} if self.saved is None else self.saved.notes
        if self.pool:  # a training that is continued began with what its notes say
            notes["inherited"] = inheritance.inherit(network, candidate.architecture, self.pool)
        for epoch in fit(
            network, train, self.recipe, candidate.seed, until=plan.last,
            check_interrupt=check_interrupt, saved=self.saved, device=self.device,
        ):  # fmt: skip
            on_epoch(epoch.number, epoch.loss)
            if epoch.number in plan.rungs and epoch.number < plan.last:
                notes.setdefault("curve", []).append([epoch.number, self._so_far(network)])
        if plan.last < plan.epochs:
            recalibrate(network, train, plan.batch_size, self.device)
        if self.pool:
            inheritance.contribute(network, candidate.architecture, self.pool)
        curve = _joined(candidate.curve, notes.get("curve", ()), plan.last)
        return replace(candidate, curve=curve, inherited=float(notes.get("inherited", 0.0)))

    def _so_far(self, network: Network) -> float:
        """Validation accuracy in the midst of the training, which is not disturbed."""
        train = StoredImages(self.images.train)
        recalibrated_network = recalibrated(network, train, self.plan.batch_size, self.device)
        return self.accuracy(recalibrated_network, self.images.validation)


def _joined(earlier: Curve, noted: Any, last: int) -> Curve:
    """Both parts of a learning curve before the last epoch, in ascending order."""
    known = {int(n): float(accuracy) for n, accuracy in (*earlier, *noted)}
    return tuple(sorted((n, accuracy) for n, accuracy in known.items() if n < last))


def checkpoint_of(
    spec: StudySpec, data_digest: str, candidate: Evaluation, weights: Path
) -> checkpoint.CheckpointFile:
    """The checkpoint of a training, beside its weights.

    Args:
        spec: The study.
        data_digest: Digest of the training and validation images.
        candidate: The candidate; its architecture and seed identify the training.
        weights: File of its weights.

    Returns:
        The file, and the identity of the training that it must have.
    """
    digest = candidate.architecture.digest
    identity = training_identity(spec, data_digest, digest, candidate.seed)
    return checkpoint.CheckpointFile(checkpoint_path(weights), identity)


def origin(spec: StudySpec, data_digest: str, measured: Evaluation) -> dict[str, str]:
    """Facts that are stored with the weights of a training, as texts.

    Args:
        spec: The study.
        data_digest: Digest of the training and validation images.
        measured: The candidate after its training.

    Returns:
        Epochs of the training, and its identity.
    """
    identity = training_identity(spec, data_digest, measured.architecture.digest, measured.seed)
    return {"epochs": str(measured.fidelity), "training": identity}


def demand_own(spec: StudySpec, data_digest: str, measured: Evaluation, weights: Path) -> None:
    """Refuses weights in a file that are not those of a result.

    A candidate whose training another machine has continued leaves its earlier weights behind. A
    file of an earlier version does not say what it holds, and is not refused.

    Args:
        spec: The study.
        data_digest: Digest of the training and validation images.
        measured: The result of a training.
        weights: The file.

    Raises:
        DataError: The weights are of another training or epoch, or the file is damaged or missing.
    """
    stored, expected = checkpoint.origin_of(weights), origin(spec, data_digest, measured)
    if not stored or stored == expected:
        return
    if stored.get("training") != expected["training"]:
        raise DataError(f"{weights} has the weights of another training than that of the result")
    has, needs = stored.get("epochs"), expected["epochs"]
    raise DataError(f"{weights} has the weights after epoch {has}, the result is of {needs}")


def checkpoint_path(weights: Path) -> Path:
    """The file of a training's checkpoint, beside that of its weights."""
    return weights.with_suffix(".training.safetensors")


def training_identity(spec: StudySpec, data_digest: str, digest: str, seed: int) -> str:
    """Tells a training's checkpoint from those of all other trainings.

    It covers everything that decides the weights after a given epoch, so that a training is
    continued only from a checkpoint of its own. Checkpoints outlive versions of this package:
    the hashed text never changes, although keys of the study file were renamed since. A key that
    is added to one of these sections must be left out of the text while it has its default.

    Args:
        spec: The study.
        data_digest: Digest of the training and validation images.
        digest: Digest of the architecture.
        seed: Seed of the training.

    Returns:
        64 hexadecimal digits.
    """
    parts, limits = {"network", "training", "data"}, {"training": {"until", "rungs"}}
    settings = spec.model_dump(include=parts, exclude=limits)
    settings["quantization"] = {
        "per": spec.quantization.granularity,
        "scale": spec.quantization.step_size,
        "when": {"qat": "training", "ptq": "after"}[spec.quantization.mode],
    }
    facts = [settings, data_digest, digest, seed]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def pool_of(plan: Training, weights: Path | None) -> Path | None:
    """The file of weights that a study's candidates share.

    Args:
        plan: The study's training.
        weights: File of a candidate's weights, beside which the shared ones are.

    Returns:
        The file; None where the plan does not ask for it or no weights are stored.
    """
    return None if weights is None or not plan.inherit else weights.parent / inheritance.POOL
