"""`onnx`: one time step as an ONNX graph; its state goes in and comes out. B images, dynamic.

Inputs: `image` [B, C, H, W], raw pixels as float32 (they are scaled in the graph), and the state of
the step before, 0 at first: for each layer of neurons `NAME_in` (potentials), for each value that a
backward edge delivers one step late `NAME_late_in`. Outputs: `scores` [B, classes] of this step, to
be averaged over the steps, and the new state, `NAME_out` and `NAME_late_out`.
"""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from nas_service.export.formats import Contents
from nas_service.export.onnx_writer import FLOAT, SCALED, Writer, library, value
from nas_service.export.run import Run
from nas_service.export.step_graph import INPUT, READOUT
from nas_service.export.trained_network import TrainedNetwork


def contents(network: TrainedNetwork, name: str) -> Contents:
    """See `Module.contents`."""
    return {".onnx": serialized(step_model(network), network)}


def run(path: Path, pixels: Tensor) -> Run:
    """See `Module.run`: onnxruntime runs the file, with the spikes as further outputs."""
    model, facts = read_model(path)
    layers = json.loads(facts["neurons"])
    session = session_of(model, layers)
    state = {
        i.name: np.zeros((len(pixels), *i.shape[1:]), np.float32)
        for i in session.get_inputs()
        if i.name != INPUT
    }
    outputs, scores = [o.name for o in session.get_outputs()], []
    spikes: dict[str, list[Tensor]] = {name: [] for name in layers}
    for t in range(int(facts["time_steps"])):
        image = (pixels[:, t] if pixels.dim() == 5 else pixels).float().numpy()
        values = dict(zip(outputs, session.run(outputs, {INPUT: image, **state}), strict=True))
        state = {name: values[name.removesuffix("_in") + "_out"] for name in state}
        scores.append(torch.from_numpy(values["scores"]))
        for layer, steps in spikes.items():
            steps.append(torch.from_numpy(values[layer]))
    return Run(torch.stack(scores).mean(0), {name: torch.stack(x) for name, x in spikes.items()})


def read_model(path: Path) -> tuple[Any, dict[str, str]]:
    """The model of a file and its metadata."""
    model = library("onnx").load(str(path))
    return model, {p.key: p.value for p in model.metadata_props}


def session_of(model: Any, shown: list[str]) -> Any:
    """A session of onnxruntime that gives further values of a model, changed in place."""
    helper, runtime = library("onnx").helper, library("onnxruntime")
    model.graph.output.extend(helper.make_tensor_value_info(x, FLOAT, None) for x in shown)
    return runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def serialized(model: Any, network: TrainedNetwork) -> bytes:
    """The model's bytes, with metadata and the examples."""
    examples = {
        "pixels": network.examples.tolist(),
        "scores": network.scores(network.examples).tolist(),
    }
    facts = {
        "nas_service": json.dumps(network.document(), allow_nan=False),
        "examples": json.dumps(examples),
        "time_steps": str(network.graph.time_steps),
        "neurons": json.dumps([node.name for node in network.graph.neurons]),
    }
    for key, text in facts.items():
        model.metadata_props.add(key=key, value=text)
    return cast(bytes, model.SerializeToString())


def step_model(network: TrainedNetwork) -> Any:
    """One time step of a network as an ONNX model."""
    graph, writer = network.graph, Writer(network.graph)
    late = {name: f"{name}_late_in" for name in graph.late_names}
    writer.scale(network)
    writer.step(SCALED, {node.name: f"{node.name}_in" for node in graph.neurons}, late)
    for name in graph.late_names:
        writer.add("Identity", (name,), f"{name}_late_out")
    writer.add("ReduceMean", (writer.votes(READOUT, "outputs"),), "scores", axes=[2], keepdims=0)
    writer.inputs.append(value(INPUT, network.inputs.task.image_shape))
    writer.outputs.append(value("scores", (len(network.inputs.class_names),)))
    shapes = {node.name: node.shape for node in graph.neurons}
    shapes |= {f"{name}_late": graph[name].shape for name in graph.late_names}
    for name, shape in shapes.items():
        writer.inputs.append(value(f"{name}_in", shape))
        writer.outputs.append(value(f"{name}_out", shape))
    return writer.model("step")
