"""The trained network in a file that `nas export` or `nas evaluate` wrote, without its study."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hw_models import Profile
from nas_service.data.batches import raw
from nas_service.errors import DataError, SpecError
from nas_service.evaluation.images import StudyImages
from nas_service.evaluation.screening import profile_of
from nas_service.export.safetensors_format import Stored, read_file
from nas_service.export.trained_network import TrainedNetwork
from nas_service.metrics import CONFIDENCE, COUNTED, PROXY, Evaluation, rates_from_json
from nas_service.snn.trace import trace

log = logging.getLogger(__name__)

FACTS = ("trial", "repeat", "test_accuracy", "data")
TEXTS = ("name", "digest", "licence", "home")  # keys of what is known of the data
COUNTS = ("training_images", "validation_images")


def of_file(path: Path) -> TrainedNetwork:
    """Reads a trained network with all that its file says about it.

    Args:
        path: A file of the format `safetensors`.

    Returns:
        The network; its costs are computed anew from its spike rates.

    Raises:
        DataError: The file is missing, damaged or of another kind.
        SpecError: The profile of its chip is not on this machine.
    """
    stored = read_file(path)
    try:
        facts = {"name": stored.spec.name, **_facts(stored.document)}
        workload = trace(stored.architecture, stored.inputs.task, stored.spec.network.votes)
        rates = rates_from_json(stored.document["spike_rates"])
        workload = workload.with_spike_rates(rates)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: damaged: {error}") from None
    profile = _profile(path, stored)
    costs = {"hardware": profile.estimate(workload).to_json()}
    try:
        evaluation = Evaluation.from_json(_measured(stored) | costs)
    except (SpecError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: damaged: {error}") from None
    return TrainedNetwork(
        stored.spec,
        evaluation,
        stored.inputs,
        stored.network,
        profile,
        workload,
        stored.examples,
        facts,
    )


def _profile(path: Path, stored: Stored) -> Profile:
    """The chip that the network was costed on; a note where its figures are others today."""
    try:
        profile = profile_of(stored.spec, stored.architecture.chip)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    chip = stored.document.get("chip")
    costed = chip.get("digest") if isinstance(chip, dict) else None
    if costed != profile.digest:
        log.warning(
            "%s: its costs are computed anew on %s of digest %s, they were on one of digest %.40r",
            *(path, profile.name, profile.digest, costed),
        )
    return profile


def validation_pixels(network: TrainedNetwork, folder: Path, count: int) -> Tensor:
    """Raw pixels of the first validation images of the data that a network was trained with.

    Args:
        network: The network.
        folder: Where the data sets are.
        count: The most images.

    Returns:
        Pixels [B, ...].

    Raises:
        DataError: The data are missing, damaged, or not those of the training.
    """
    images = StudyImages.open(network.spec, folder)
    digest = network.facts["data"]["digest"]
    if images.digest != digest:
        raise DataError(
            f"the network was trained with other images (digest {digest}, in {folder} "
            f"{images.digest})"
        )
    split = images.split(network.evaluation.architecture.time_steps)
    return raw(split.validation, slice(count))


def _facts(document: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the network beside its evaluation; ValueError where it is damaged."""
    facts = {key: document[key] for key in FACTS if key in document}
    data = facts["data"]
    for key in {"trial", "repeat"} & facts.keys():
        _demand(type(facts[key]) is int, f"{key}: a whole number is needed")
    for key in TEXTS:
        _demand(isinstance(data[key], str), f"data.{key}: a text is needed")
    counts = [*COUNTS, *({"test_images"} & data.keys())]
    for key in counts:
        _demand(type(data[key]) is int and data[key] > 0, f"data.{key}: a number >= 1 is needed")
    test = facts.get("test_accuracy") or 0
    is_share = isinstance(test, float | int) and 0 <= test <= 1
    _demand(is_share, "test_accuracy: a share 0..1 is needed")
    versions = document["versions"]
    texts = isinstance(versions, dict) and all(isinstance(v, str) for v in versions.values())
    _demand(texts, "versions: a table of texts is needed")
    return facts | {"data": {key: data[key] for key in (*TEXTS, *counts)}}


def _demand(fits: bool, fault: str) -> None:
    if not fits:
        raise ValueError(fault)


def _measured(stored: Stored) -> dict[str, Any]:
    """What was measured of the network, as `Evaluation.from_json` reads it."""
    document = stored.document
    metrics = document["metrics"]
    for key in ("seed", "epochs"):
        _demand(type(document[key]) is int, f"{key}: a whole number is needed")
    return {
        "architecture": stored.architecture.to_json(),
        "outcome": "trained",
        "chance": stored.inputs.task.chance,
        "seed": document["seed"],
        "fidelity": document["epochs"],
        "accuracy": metrics["accuracy"],
        "spike_rate": metrics["spike_rate"],
        "spike_rates": document["spike_rates"],
        "on_chip": document.get("on_chip", []),
        "counted": {name: metrics[name] for name in COUNTED if name in metrics},
        "bounds": {name: x for name, x in metrics.items() if CONFIDENCE in name},
        "proxies": {n.removeprefix(PROXY): x for n, x in metrics.items() if n.startswith(PROXY)},
        "versions": document["versions"],
    }
