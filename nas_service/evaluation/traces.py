"""What a trained candidate's layers have read in a few validation samples, in one file.

It lies beside the candidate's weights, as safetensors: for each layer the bits of its inputs
[bits, C, H, W, ceil(maps / 8)], maps packed along the last axis as by `np.packbits` (see
`hw_models.recorded`). As many samples are recorded as TRACE_B bytes hold.
"""

import hashlib
import json
import math
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from hw_models import Layer, RecordedInputs, Workload
from hw_models.layer import pair
from nas_service.errors import DataError
from nas_service.metrics import Evaluation
from nas_service.spaces.architecture import Architecture

TRACE_B = 8 * 2**20  # of a candidate
LIMIT = f"{TRACE_B // 2**20} MiB"
MOST_SAMPLES = 256
HEADER_B = 2**20  # of a file's names and shapes
FACTS = "traces"  # a text in the file

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Traces:
    """The recorded inputs of a candidate's layers."""

    samples: int
    inputs: dict[str, RecordedInputs]  # by layer


def path_of(weights: Path) -> Path:
    """The file of a candidate's traces, beside that of its weights."""
    return weights.with_suffix(".traces.safetensors")


def samples_within(workload: Workload, available: int = MOST_SAMPLES) -> int:
    """How many samples are recorded of a network.

    Args:
        workload: Its layers.
        available: Validation samples.

    Returns:
        At most MOST_SAMPLES; 0 where not even one fits into TRACE_B.
    """
    counts = range(min(available, MOST_SAMPLES) + 1)
    return bisect_right(counts, TRACE_B, key=lambda n: _bytes(workload, n)) - 1


def _bytes(workload: Workload, samples: int) -> int:
    return sum(map(math.prod, _shapes(workload, samples).values()))


def _shapes(workload: Workload, samples: int) -> dict[str, Shape]:
    return {layer.name: _shape(layer, workload.time_steps, samples) for layer in workload.layers}


def _shape(layer: Layer, time_steps: int, samples: int) -> Shape:
    packed = -(-_maps(layer, time_steps, samples) // 8)
    return (layer.input_bits, layer.in_channels, *pair(layer.in_size), packed)


def _maps(layer: Layer, time_steps: int, samples: int) -> int:
    return samples if layer.once else samples * time_steps


def facts_of(traces: Traces, evaluation: Evaluation) -> dict[str, str]:
    """The text that is stored with traces: which evaluation they are of, and their own digest."""
    arrays = {name: x.bits for name, x in traces.inputs.items()}
    facts = {
        "samples": traces.samples,
        "evaluation": digest_of(evaluation),
        "content": _content(arrays),
    }
    return {FACTS: json.dumps(facts, sort_keys=True)}


def digest_of(evaluation: Evaluation) -> str:
    """64 hexadecimal digits of what a training has measured, equal for equal trainings."""
    e = evaluation
    facts = [e.architecture.digest, e.seed, e.fidelity, e.accuracy, e.spike_rate, e.spike_rates]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _content(arrays: dict[str, Any]) -> str:
    content = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        content.update(f"{name} {array.shape}".encode())
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


def load(path: Path, workload: Workload, evaluation: Evaluation) -> Traces:
    """Reads the traces of a candidate; sizes are compared before anything is read.

    Args:
        path: The file.
        workload: The candidate's layers.
        evaluation: What the store holds of it.

    Returns:
        The traces.

    Raises:
        DataError: The file is damaged, or the traces are those of another evaluation.
    """
    try:
        if (size := path.stat().st_size) > TRACE_B + HEADER_B:
            raise ValueError(f"{size} bytes, at most {TRACE_B + HEADER_B} are possible")
        with safe_open(path, framework="numpy") as file:
            return _read(file, workload, evaluation)
    except ValueError as error:
        raise DataError(f"{path}: not the traces of this candidate: {error}") from None
    except Exception as error:  # safetensors raises several unrelated types
        raise DataError(
            f"{path}: not the traces of this candidate: cut, damaged or missing"
        ) from error


def _read(file: Any, workload: Workload, evaluation: Evaluation) -> Traces:
    """The traces in an open file; ValueError or KeyError where they are not this candidate's."""
    facts = json.loads((file.metadata() or {})[FACTS])
    if facts["evaluation"] != digest_of(evaluation):
        raise ValueError("of another training than that of the result")
    samples = facts["samples"]
    if type(samples) is not int or not 1 <= samples <= samples_within(workload):
        raise ValueError(f"of {samples!r:.60} samples")
    shapes = _shapes(workload, samples)
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  no mapping
    if {n: (tuple(s.get_shape()), s.get_dtype()) for n, s in slices.items()} != {
        n: (shape, "U8") for n, shape in shapes.items()
    }:
        raise ValueError("layers or shapes are those of another network")
    arrays = {name: file.get_tensor(name) for name in shapes}
    if facts["content"] != _content(arrays):
        raise ValueError("damaged")
    dilations = dilations_of(evaluation.architecture)
    inputs = {
        layer.name: RecordedInputs(
            arrays[layer.name],
            _maps(layer, workload.time_steps, samples),
            dilations.get(layer.name, 1),
        )
        for layer in workload.layers
    }
    return Traces(samples, inputs)


def dilations_of(architecture: Architecture) -> dict[str, int]:
    """Distance in pixels between the inputs of a window, by the layers of all edges."""
    return {
        f"cell{k}.edge{edge.name}{matrix.suffix}": matrix.dilation
        for k, cell in enumerate(architecture.cells)
        for edge in cell.live().edges
        for matrix in edge.operation.matrices
    }
