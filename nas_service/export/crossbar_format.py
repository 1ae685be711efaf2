"""`crossbar`: what is programmed on each crossbar of the chip, as NPZ with a JSON index.

The index holds the graph of one time step, the chip, and for each layer its crossbars: how many
rows and columns they use. The NPZ has, for crossbar K of layer L (docs/read_crossbars.py reads it):

    L.K.conductance  [rows, columns], siemens, without the chip's imperfections
    L.K.inputs       [rows]: number of the layer's input, channel * positions + position
    L.K.outputs      [columns]: number of the layer's output, -1 for a reference column
    L.K.worth        [columns]: of one level, in integer steps of a weight
    L.K.references   [columns, 2]: crossbar and column whose current is subtracted, -1 for none
    L.scale, L.bias  [outputs]: from integer sums to currents of the neurons
"""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hw_models.chip import Chip
from hw_models.errors import HardwareError
from hw_models.files.json_file import read_json
from hw_models.nonideality import off_steps, step_S
from hw_models.programming import NONE, Crossbar, program
from nas_service.errors import SpecError
from nas_service.export.formats import Contents
from nas_service.export.run import Run
from nas_service.export.step_graph import Node, StepGraph
from nas_service.export.trained_network import TrainedNetwork
from nas_service.snn.neurons import Neuron

FORMAT = "nas-crossbar-1"
IMPERFECTIONS = (  # figures of the chip that the conductances in the file are without
    "adc_bits",
    "conductance_spread",
    "stuck_on",
    "stuck_off",
    "drift_exponent",
    "drift_spread",
    "drift_seconds",
    "wire_resistance_Ohm",
)
Arrays = dict[str, NDArray[Any]]


def contents(network: TrainedNetwork, name: str) -> Contents:
    """See `Module.contents`."""
    try:
        return _contents(network)
    except HardwareError as error:
        raise SpecError(f"{error}; --format torch has the weights for any chip") from None


def _contents(network: TrainedNetwork) -> Contents:
    chip, graph = network.profile.chip, network.graph
    layers = {node.name: _programmed(node, chip) for node in graph.nodes if node.weight is not None}
    document = {
        "format": FORMAT,
        **(known := network.document()),
        "chip": known["chip"] | _chip(chip),
        "votes": graph.votes,
        "nodes": [_node(node) for node in graph.nodes],
        "crossbars": {
            layer: [{"rows": len(c.inputs), "columns": len(c.outputs)} for c in crossbars]
            for layer, crossbars in layers.items()
        },
    }
    arrays = {
        "examples.pixels": network.examples.numpy(),
        "examples.scores": network.scores(network.examples).numpy(),
    }
    for layer, crossbars in layers.items():
        arrays |= _arrays(graph[layer], crossbars, chip)
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **cast(Any, arrays))
    text = json.dumps(document, indent=1, allow_nan=False)
    return {".json": text.encode(), ".npz": packed.getvalue()}


def run(path: Path, pixels: Tensor) -> Run:
    """See `Module.run`: weights are what the crossbars conduct."""
    document = read_json(path)
    graph = StepGraph(
        tuple(_from_json(node) for node in document["nodes"]),
        document["input"]["time_steps"],
        document["votes"],
    )
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        nodes = [_with_tensors(node, arrays, document) for node in graph.nodes]
    mean, deviation = (
        torch.tensor(document["input"][key])[:, None, None] for key in ("mean", "deviation")
    )
    return replace(graph, nodes=tuple(nodes)).run((pixels.float() - mean) / deviation)


def _programmed(node: Node, chip: Chip) -> tuple[Crossbar, ...]:
    weight = cast(Tensor, node.weight)
    integers = weight.flatten(2).numpy() if weight.dim() == 4 else weight.numpy()[..., None]
    return program(integers, node.bits, node.geometry.get("groups", 1), chip)


def _chip(chip: Chip) -> dict[str, Any]:
    figures, options = chip.figures, chip.options
    step = step_S(chip)
    return {
        "profile": chip.name,
        "crossbar_size": figures.crossbar_size,
        "bits_per_cell": figures.bits_per_cell,
        "mapping": options.mapping,
        "sign": options.sign,
        "on_resistance_Ohm": figures.on_resistance_Ohm,
        "off_resistance_Ohm": figures.off_resistance_Ohm,
        "level_S": step,
        "off_S": off_steps(chip) * step,
        "imperfections": {name: getattr(figures, name) for name in IMPERFECTIONS},
    }


def _arrays(node: Node, crossbars: tuple[Crossbar, ...], chip: Chip) -> Arrays:
    arrays: Arrays = {
        f"{node.name}.scale": cast(Tensor, node.scale).numpy(),
        f"{node.name}.bias": cast(Tensor, node.bias).numpy(),
    }
    for k, crossbar in enumerate(crossbars):
        own = f"{node.name}.{k}"
        arrays[f"{own}.conductance"] = (crossbar.levels + off_steps(chip)) * step_S(chip)
        for key in ("inputs", "outputs", "worth", "references"):
            arrays[f"{own}.{key}"] = getattr(crossbar, key)
    return arrays


def _node(node: Node) -> dict[str, Any]:
    """A node as JSON values, without fields that are empty; of its tensors the shape alone."""
    document: dict[str, Any] = {
        "name": node.name,
        "kind": node.kind,
        "inputs": list(node.inputs),
        "late": list(node.late),
        "like": node.like,
        "shape": list(node.shape),
        "geometry": dict(node.geometry),
        "bits": node.bits,
    }
    if node.weight is not None:
        document["weight"] = list(node.weight.shape)
    elif node.scale is not None and node.bias is not None:
        document |= {"scale": node.scale.tolist(), "bias": node.bias.tolist()}
    if (n := node.neuron) is not None:
        document["neuron"] = {
            "tau": n.tau,
            "threshold": n.threshold,
            "reset": n.reset,
            "fires_at_threshold": n.fires_at_threshold,
        }
    return {key: value for key, value in document.items() if value not in ([], {}, "", 0)}


def _from_json(document: dict[str, Any]) -> Node:
    geometry = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in document.get("geometry", {}).items()
    }
    neuron = Neuron(**document["neuron"]) if "neuron" in document else None
    scale, bias = (torch.tensor(document[k]) if k in document else None for k in ("scale", "bias"))
    return Node(
        document["name"],
        document["kind"],
        tuple(document.get("inputs", ())),
        tuple(document.get("late", ())),
        document.get("like", ""),
        tuple(document.get("shape", ())),
        scale=scale,
        bias=bias,
        geometry=geometry,
        bits=document.get("bits", 0),
        neuron=neuron,
    )


def _with_tensors(node: Node, arrays: Any, document: dict[str, Any]) -> Node:
    """A matrix with the weights that its crossbars conduct."""
    if node.name not in document["crossbars"]:
        return node
    shape = next(n["weight"] for n in document["nodes"] if n["name"] == node.name)
    weight = _weights(node, shape, len(document["crossbars"][node.name]), arrays, document["chip"])
    scale, bias = (torch.from_numpy(arrays[f"{node.name}.{key}"]) for key in ("scale", "bias"))
    return replace(node, weight=weight, scale=scale, bias=bias)


def _weights(node: Node, shape: list[int], count: int, arrays: Any, chip: dict[str, Any]) -> Tensor:
    """Integer weights [O, C / groups, ...] from conductances."""
    groups = node.geometry.get("groups", 1)
    outputs, width = shape[0], int(np.prod(shape[1:]))
    everything = np.zeros((outputs, groups * width))
    currents = [arrays[f"{node.name}.{k}.conductance"] / chip["level_S"] for k in range(count)]
    for k, current in enumerate(currents):
        numbers, worth, references, rows = (
            arrays[f"{node.name}.{k}.{key}"] for key in ("outputs", "worth", "references", "inputs")
        )
        for column, output in enumerate(numbers):
            if output != NONE:
                array, at = references[column]
                off = currents[array][:, at] if array != NONE else 0
                everything[output, rows] += worth[column] * (current[:, column] - off)
    own = everything.reshape(outputs, groups, width)
    group = np.arange(outputs) // (outputs // groups)
    values = own[np.arange(outputs), group]
    if chip["sign"] == "offset":
        values = values - 2 ** (node.bits - 1)
    integers = values.round()
    if np.abs(values - integers).max(initial=0) > 1e-3:
        raise SpecError(f"{node.name}: conductances are no whole levels")
    return torch.from_numpy(integers.astype(np.int8)).reshape(shape)
