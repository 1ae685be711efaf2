"""`safetensors`: the trained weights as they are, with everything else as metadata.

`nas_service.load` reads the file; any reader of safetensors shows the tensors, and the metadata as
one JSON text under the key `nas_service`.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from hw_models.files.json_file import parse_json
from nas_service.errors import DataError, SpecError
from nas_service.evaluation.networks import build_network
from nas_service.export.formats import Contents
from nas_service.export.run import Run
from nas_service.export.step_graph import step_graph
from nas_service.export.trained_network import Inputs, TrainedNetwork
from nas_service.snn.deployed import deployed
from nas_service.snn.network import Network
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.task import LARGEST_PIXEL, Task
from nas_service.study.loading import parse_spec

FORMAT = "nas-network-1"
KEY = "nas_service"  # of the metadata
WEIGHTS, EXAMPLES = "network.", "examples."  # begin the names of tensors


def contents(network: TrainedNetwork, name: str) -> Contents:
    """See `Module.contents`."""
    tensors = {WEIGHTS + key: x.contiguous() for key, x in network.network.state_dict().items()}
    tensors[EXAMPLES + "pixels"] = network.examples.contiguous()
    tensors[EXAMPLES + "scores"] = network.scores(network.examples)
    metadata = {KEY: json.dumps(document_of(network), allow_nan=False)}
    return {".safetensors": save(tensors, metadata)}


def document_of(network: TrainedNetwork) -> dict[str, Any]:
    """All that the file says about the network beside its tensors, as JSON values."""
    return {"format": FORMAT, **network.document()}


def run(path: Path, pixels: Tensor) -> Run:
    """See `Module.run`: the network in integers, which `nas_service.load` predicts with."""
    network, inputs, _ = read_network(path)
    task = inputs.task
    graph = step_graph(deployed(network), (task.channels, task.size, task.size))
    return graph.run(inputs.scaled(pixels))


def read_network(path: Path) -> tuple[Network, Inputs, dict[str, Any]]:
    """Reads an exported network.

    Args:
        path: A file that this module wrote.

    Returns:
        The network in evaluation mode, what it is given, and the file's document.

    Raises:
        DataError: The file is missing, damaged or of another kind.
    """
    document, tensors = _read(path)
    try:
        inputs = _inputs(document)
        architecture = Architecture.from_json(document.get("architecture"))
        spec = parse_spec(json.dumps(document.get("study")), "study", stored=True)
        with torch.device("meta"):  # nothing is allocated before the tensors are seen to fit
            expected = build_network(spec, inputs.task, architecture, torch.device("meta"))
        _demand_fitting(tensors, expected.state_dict())
    except (SpecError, TypeError, ValueError, KeyError) as error:
        raise DataError(f"{path}: damaged: {error}") from None
    network = build_network(spec, inputs.task, architecture, torch.device("cpu"))
    network.load_state_dict(tensors)
    return network.eval(), inputs, document


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = [name for name in file.keys() if name.startswith(WEIGHTS)]  # noqa: SIM118
            tensors = {n.removeprefix(WEIGHTS): file.get_tensor(n) for n in names}
    except OSError as error:
        reason = error.strerror or ("a folder" if path.is_dir() else "missing")
        raise DataError(f"{path}: cannot be read ({reason})") from None
    except Exception as error:  # safetensors raises several unrelated types
        raise DataError(f"{path}: cut, damaged or no safetensors file") from error
    if KEY not in metadata:
        raise DataError(f"{path}: no network of `nas export --format safetensors`")
    document = parse_json(metadata[KEY], f"{path}: metadata")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{path}: format must be {FORMAT!r}")
    return document, tensors


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
    events = given["encoding"] == "events"
    largest = _whole(given.get("largest", LARGEST_PIXEL), "input.largest")
    task = Task(channels, size, len(classes), events, LARGEST_PIXEL if events else largest)
    return Inputs(task, mean, deviation, tuple(classes))


def _whole(value: object, key: str) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{key}: {value!r:.40}, a whole number >= 1 is needed")
    return value


def _demand_fitting(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """ValueError where tensors are missing, unknown, of another shape or not finite."""
    if odd := sorted(tensors.keys() ^ expected.keys()):
        raise ValueError(f"tensor {odd[0]!r:.60} is missing or unknown")
    for name, own in expected.items():
        stored = tensors[name]
        if (stored.shape, stored.dtype) != (own.shape, own.dtype):
            raise ValueError(
                f"tensor {name} is {stored.dtype} {list(stored.shape)}, must be {own.dtype} "
                f"{list(own.shape)}"
            )
        if not torch.isfinite(stored).all():
            raise ValueError(f"tensor {name} holds numbers that are not finite")
