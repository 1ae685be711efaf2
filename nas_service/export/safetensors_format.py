"""`safetensors`: the trained weights as they are, with everything else as metadata.

`nas_service.load` reads the file; any reader of safetensors shows the tensors, and the metadata as
one JSON text under the key `nas_service`.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from hw_models.errors import FileError
from hw_models.files.json_file import parse_json
from nas_service.errors import DataError, SpecError
from nas_service.evaluation.networks import build_network
from nas_service.export.formats import Contents
from nas_service.export.run import Run
from nas_service.export.step_graph import step_graph
from nas_service.export.trained_network import Inputs, TrainedNetwork
from nas_service.snn.checkpoint import DIGEST, demand_fitting, digest_of
from nas_service.snn.deployed import deployed
from nas_service.snn.network import Network
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.task import LARGEST_PIXEL, Task
from nas_service.study.loading import parse_spec
from nas_service.study.plugin_records import read_records, stand_in
from nas_service.study.spec import StudySpec

FORMAT = "nas-network-1"
KEY = "nas_service"  # of the metadata
WEIGHTS, EXAMPLES = "network.", "examples."  # begin the names of tensors


def contents(network: TrainedNetwork, name: str) -> Contents:
    """See `Module.contents`."""
    tensors = {WEIGHTS + key: x.contiguous() for key, x in network.network.state_dict().items()}
    tensors[EXAMPLES + "pixels"] = network.examples.contiguous()
    tensors[EXAMPLES + "scores"] = network.scores(network.examples)
    document = signed(document_of(network), tensors)
    return {".safetensors": save(tensors, {KEY: json.dumps(document, allow_nan=False)})}


def signed(document: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A file's document with the digest by which a changed bit is noticed."""
    return document | {DIGEST: digest_of(tensors, json.dumps(document))}


def document_of(network: TrainedNetwork) -> dict[str, Any]:
    """All that the file says about the network beside its tensors, as JSON values."""
    return {"format": FORMAT, **network.document()}


def run(path: Path, pixels: Tensor) -> Run:
    """See `Module.run`: the network in integers, which `nas_service.load` predicts with."""
    network, inputs, _ = read_network(path)
    return step_graph(deployed(network), inputs.task.image_shape).run(inputs.scaled(pixels))


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds, checked."""

    spec: StudySpec
    architecture: Architecture
    inputs: Inputs
    network: Network  # in evaluation mode
    examples: Tensor  # raw pixels [N, ...]
    document: dict[str, Any]  # what else it says: unchecked JSON


def read_network(path: Path) -> tuple[Network, Inputs, dict[str, Any]]:
    """Reads an exported network.

    Args:
        path: A file that this module wrote.

    Returns:
        The network in evaluation mode, what it is given, and the file's document.

    Raises:
        DataError: The file is missing, damaged or of another kind.
    """
    stored = read_file(path)
    return stored.network, stored.inputs, stored.document


def read_file(path: Path) -> Stored:
    """Reads all of a file; see `read_network`."""
    document, tensors = _read(path)
    try:
        stand_in(read_records(document.get("plugins")))
    except SpecError as error:
        raise DataError(f"{path}: {error}") from None
    try:
        inputs = _inputs(document)
        architecture = Architecture.from_json(document.get("architecture"))
        spec = parse_spec(json.dumps(document.get("study")), "study", stored=True)
        weights = _part(tensors, WEIGHTS)
        examples = _examples(_part(tensors, EXAMPLES), inputs.task, architecture.time_steps)
        _demand_scores(tensors[f"{EXAMPLES}scores"], len(examples), inputs.task.classes)
        with torch.device("meta"):  # nothing is allocated before the tensors are seen to fit
            expected = build_network(spec, inputs.task, architecture, torch.device("meta"))
        demand_fitting(weights, expected.state_dict())
    except (SpecError, TypeError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(f"{path}: damaged: {error}") from None
    network = build_network(spec, inputs.task, architecture, torch.device("cpu"))
    network.load_state_dict(weights)
    return Stored(spec, architecture, inputs, network.eval(), examples, document)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118  no mapping
    except OSError as error:
        reason = error.strerror or ("a folder" if os.path.isdir(path) else "missing")
        raise DataError(f"{path}: cannot be read ({reason})") from None
    except Exception as error:  # safetensors raises several unrelated types
        raise DataError(f"{path}: cut, damaged or no safetensors file") from error
    if KEY not in metadata:
        raise DataError(f"{path}: no network of `nas export --format safetensors`")
    try:
        document = parse_json(metadata[KEY], f"{path}: metadata")
    except FileError as error:
        raise DataError(str(error)) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{path}: format must be {FORMAT!r}")
    stored = document.pop(DIGEST, None)
    if stored != digest_of(tensors, json.dumps(document)):
        raise DataError(f"{path}: damaged: its content was changed since it was written")
    return document, tensors


def _part(tensors: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, without this beginning."""
    return {n.removeprefix(start): x for n, x in tensors.items() if n.startswith(start)}


def _examples(tensors: dict[str, Tensor], task: Task, time_steps: int) -> Tensor:
    """Raw pixels of the example images; ValueError where they are no images of the task."""
    shape = (task.channels, task.size, task.size)
    pixels = tensors["pixels"]
    if pixels.shape[1:] != ((time_steps, *shape) if task.events else shape):
        raise ValueError(f"examples.pixels has the shape {list(pixels.shape)}")
    if pixels.dtype not in (torch.uint8, torch.int32) or not len(pixels):
        raise ValueError(f"examples.pixels: {len(pixels)} images of {pixels.dtype}")
    if not 0 <= pixels.min() <= pixels.max() <= task.largest:
        raise ValueError(f"examples.pixels: whole numbers of 0 to {task.largest} are needed")
    return pixels


def _demand_scores(scores: Tensor, images: int, classes: int) -> None:
    """ValueError where a tensor is no scores of the examples."""
    if scores.shape != (images, classes) or scores.dtype != torch.float32:
        raise ValueError(f"examples.scores is {scores.dtype} {list(scores.shape)}")


def _inputs(document: dict[str, Any]) -> Inputs:
    """The inputs of a document; ValueError or KeyError where it is damaged."""
    given, classes = document["input"], document["classes"]
    channels, size, height = (_whole(x, "input.shape") for x in given["shape"])
    if size != height:
        raise ValueError(f"input.shape = {given['shape']}: a square is needed")
    if not isinstance(classes, list) or not all(isinstance(x, str) for x in classes):
        raise ValueError("classes: a list of names is needed")
    mean, deviation = (tuple(float(x) for x in given[key]) for key in ("mean", "deviation"))
    if not len(mean) == len(deviation) or len(mean) not in (1, channels) or min(deviation) <= 0:
        raise ValueError("input: mean and deviation of each channel are needed")
    if not all(map(math.isfinite, mean + deviation)):
        raise ValueError("input: mean and deviation are finite numbers")
    if given["encoding"] not in ("direct", "events"):
        raise ValueError(f"input.encoding: {given['encoding']!r:.40}, direct or events is needed")
    events = given["encoding"] == "events"
    largest = _whole(given.get("largest", LARGEST_PIXEL), "input.largest")
    task = Task(channels, size, len(classes), events, LARGEST_PIXEL if events else largest)
    return Inputs(task, mean, deviation, tuple(classes))


def _whole(value: object, key: str) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{key}: {value!r:.40}, a whole number >= 1 is needed")
    return value
