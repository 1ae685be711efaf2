"""`onnx-unrolled`: all time steps as one ONNX graph without a state. B images, dynamic.

Input: `image` [B, C, H, W], or recordings [B, T, C, H, W], raw pixels as float32. Output: `scores`
[B, classes]. The value that a layer NAME has in time step T, from 0, is named `NAME_tT`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas_service.export.formats import Contents
from nas_service.export.onnx_format import read_model, serialized, session_of
from nas_service.export.onnx_writer import SCALED, Names, Writer, value
from nas_service.export.run import Run
from nas_service.export.step_graph import INPUT, READOUT
from nas_service.export.trained_network import TrainedNetwork


def contents(network: TrainedNetwork, name: str) -> Contents:
    """See `Module.contents`."""
    return {".onnx": serialized(unrolled_model(network), network)}


def run(path: Path, pixels: Tensor) -> Run:
    """See `Module.run`: onnxruntime runs the file, with the spikes as further outputs."""
    model, facts = read_model(path)
    layers, steps = json.loads(facts["neurons"]), range(int(facts["time_steps"]))
    shown = [f"{layer}_t{t}" for layer in layers for t in steps]
    session = session_of(model, shown)
    scores, *values = session.run(["scores", *shown], {INPUT: pixels.float().numpy()})
    spikes = dict(zip(shown, map(torch.from_numpy, values), strict=True))
    return Run(
        torch.from_numpy(scores),
        {layer: torch.stack([spikes[f"{layer}_t{t}"] for t in steps]) for layer in layers},
    )


def unrolled_model(network: TrainedNetwork) -> Any:
    """All time steps of a network as an ONNX model."""
    graph, writer, task = network.graph, Writer(network.graph), network.inputs.task
    before: Names = {}
    late: Names = {}
    votes = []
    writer.scale(network)
    for t in range(graph.time_steps):
        end = f"_t{t}"
        writer.step(_frame(writer, t) if task.events else SCALED, before, late, end)
        votes.append(writer.votes(READOUT + end, f"outputs{end}"))
        before = {node.name: f"{node.name}{end}_out" for node in graph.neurons}
        late = {name: name + end for name in graph.late_names}
    writer.add("Concat", votes, "all_outputs", axis=2)
    writer.add("ReduceMean", ("all_outputs",), "scores", axes=[2], keepdims=0)
    frames = (graph.time_steps,) if task.events else ()
    writer.inputs.append(value(INPUT, (*frames, *task.image_shape)))
    writer.outputs.append(value("scores", (len(network.inputs.class_names),)))
    return writer.model("all_steps")


def _frame(writer: Writer, t: int) -> str:
    """The frame of one time step [B, C, H, W] of scaled recordings."""
    return writer.add(
        "Gather", (SCALED, writer.constant(f"t{t}", np.array(t))), f"frame_t{t}", axis=1
    )
