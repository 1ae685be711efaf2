"""`onnx`: one time step as an ONNX graph; its state goes in and comes out. B images, dynamic.

Inputs: `image` [B, C, H, W], raw pixels as float32 (they are scaled in the graph), and the state of
the step before, 0 at first: for each layer of neurons `NAME_in` (potentials), for each value that a
backward edge delivers one step late `NAME_late_in`. Outputs: `scores` [B, classes] of this step, to
be averaged over the steps, and the new state, `NAME_out` and `NAME_late_out`.
"""

import importlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_service.errors import NasError
from nas_service.export.formats import Contents
from nas_service.export.run import Run
from nas_service.export.step_graph import INPUT, READOUT, Node, StepGraph
from nas_service.export.trained_network import TrainedNetwork
from nas_service.snn.neurons import Neuron

OPSET, IR = 17, 8  # of 2022: readers of today know them
FLOAT = 1  # onnx.TensorProto.FLOAT
SCALED = "scaled"


def contents(network: TrainedNetwork, name: str) -> Contents:
    """See `Module.contents`."""
    return {".onnx": _serialized(step_model(network), network)}


def run(path: Path, pixels: Tensor) -> Run:
    """See `Module.run`: onnxruntime runs the file, with the spikes as further outputs."""
    onnx = library("onnx")
    model = onnx.load(str(path))
    layers = json.loads(_metadata(model)["neurons"])
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, FLOAT, None) for name in layers
    )
    session = _session(model)
    state = {
        i.name: np.zeros((len(pixels), *i.shape[1:]), np.float32)
        for i in session.get_inputs()
        if i.name != INPUT
    }
    outputs, scores = [o.name for o in session.get_outputs()], []
    spikes: dict[str, list[Tensor]] = {name: [] for name in layers}
    for t in range(int(_metadata(model)["time_steps"])):
        image = (pixels[:, t] if pixels.dim() == 5 else pixels).float().numpy()
        values = dict(zip(outputs, session.run(outputs, {INPUT: image, **state}), strict=True))
        state = {name: values[name.removesuffix("_in") + "_out"] for name in state}
        scores.append(torch.from_numpy(values["scores"]))
        for layer, steps in spikes.items():
            steps.append(torch.from_numpy(values[layer]))
    return Run(torch.stack(scores).mean(0), {name: torch.stack(x) for name, x in spikes.items()})


def library(name: str) -> ModuleType:
    """A library of the extra `onnx`.

    Raises:
        NasError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise NasError(
            f"{name} is not installed: pip install 'nas-service[onnx]' brings it"
        ) from None


def _session(model: Any) -> Any:
    runtime = library("onnxruntime")
    return runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def _metadata(model: Any) -> dict[str, str]:
    return {p.key: p.value for p in model.metadata_props}


def _serialized(model: Any, network: TrainedNetwork) -> bytes:
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
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    return cast(bytes, model.SerializeToString())


def step_model(network: TrainedNetwork) -> Any:
    """One time step of a network as an ONNX model."""
    graph, writer = network.graph, Writer(network.graph)
    writer.scale(network)
    writer.step()
    for node in graph.neurons:
        writer.state(f"{node.name}_in", f"{node.name}_out", node.shape)
    for name in graph.late_names:
        writer.state(f"{name}_late_in", f"{name}_late_out", graph[name].shape)
    task = network.inputs.task
    return writer.model((task.channels, task.size, task.size), len(network.inputs.class_names))


@dataclass(eq=False)
class Writer:
    """Collects the nodes, constants, inputs and outputs of an ONNX graph."""

    graph: StepGraph
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)

    def add(self, kind: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        """Adds one ONNX node with one output; returns the output's name."""
        helper = library("onnx").helper
        self.nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Adds a constant once; returns its name."""
        if name not in self.constants:
            self.constants[name] = library("onnx").numpy_helper.from_array(values, name)
        return name

    def number(self, value: float) -> str:
        """Adds a number of float32 as a constant."""
        return self.constant(f"number_{value!r}", np.array(value, np.float32))

    def scale(self, network: TrainedNetwork) -> None:
        """The scaled image from raw pixels."""
        mean, deviation = (
            self.constant(name, np.array(x, np.float32)[:, None, None])
            for name, x in (("mean", network.inputs.mean), ("deviation", network.inputs.deviation))
        )
        self.add("Sub", (INPUT, mean), "centred")
        self.add("Div", ("centred", deviation), SCALED)

    def state(self, entry: str, end: str, shape: tuple[int, ...]) -> None:
        """Declares a value of the state as an input and an output."""
        self.inputs.append(_value(entry, shape))
        self.outputs.append(_value(end, shape))

    def step(self) -> None:
        """The nodes of the time step; a value has the name of its node."""
        for node in self.graph.nodes[1:]:
            terms = [f"{name}_late_in" for name in node.late]
            x = self._sum(node, [*terms, *(SCALED if n == INPUT else n for n in node.inputs)])
            if node.neuron is None:
                self._compute(node, x, node.name)
            else:
                self._fire(node.name, x, f"{node.name}_in", node.neuron)
        for name in self.graph.late_names:
            self.add("Identity", (name,), f"{name}_late_out")
        shape = self.constant("votes", np.array([0, -1, self.graph.votes], np.int64))
        self.add("Reshape", (READOUT, shape), "votes_of_classes")
        self.add("ReduceMean", ("votes_of_classes",), "scores", axes=[2], keepdims=0)

    def _sum(self, node: Node, terms: Sequence[str]) -> str:
        if not terms:  # only in a cell that nothing crosses
            return self.add("Sub", (node.like, node.like), f"{node.name}_zeros")
        total = terms[0]
        for i, term in enumerate(terms[1:]):
            total = self.add("Add", (total, term), f"{node.name}_sum{i}")
        return total

    def _fire(self, own: str, x: str, v: str, neuron: Neuron) -> str:
        moved = self.add("Sub", (x, v), f"{own}_distance")
        moved = self.add("Mul", (moved, self.number(1 / neuron.tau)), f"{own}_change")
        u = self.add("Add", (v, moved), f"{own}_u")
        threshold = self.number(neuron.threshold)
        kind = "GreaterOrEqual" if neuron.fires_at_threshold else "Greater"
        fired = self.add(kind, (u, threshold), f"{own}_fired")
        spikes = self.add("Cast", (fired,), own, to=FLOAT)
        if neuron.reset == "subtract":
            spent = self.add("Mul", (spikes, threshold), f"{own}_spent")
            self.add("Sub", (u, spent), f"{own}_out")
        else:
            self.add("Where", (fired, self.number(0.0), u), f"{own}_out")
        return spikes

    def _compute(self, node: Node, x: str, own: str) -> str:
        match node.kind:
            case "sum":
                return self.add("Identity", (x,), own)
            case "flatten":
                return self.add("Flatten", (x,), own, axis=1)
            case "affine":
                return self._affine(node, x, own)
            case "convolution" | "linear":
                return self._affine(node, self._product(node, x, own), own)
        return self._pool(node, x, own)

    def _product(self, node: Node, x: str, own: str) -> str:
        weight = cast(Tensor, node.weight).numpy()
        integers = self.constant(f"{node.name}_weight", weight)
        self.add("Cast", (integers,), f"{node.name}_float", to=FLOAT)
        if node.kind == "linear":
            return self.add("Gemm", (x, f"{node.name}_float"), f"{own}_sums", transB=1)
        g = node.geometry
        return self.add(
            "Conv", (x, f"{node.name}_float"), f"{own}_sums",
            strides=list(g["stride"]), pads=[*g["padding"], *g["padding"]],
            dilations=list(g["dilation"]), group=g["groups"],
        )  # fmt: skip

    def _affine(self, node: Node, x: str, own: str) -> str:
        shape = (-1, *[1] * (len(node.shape) - 1))
        scale, bias = (
            self.constant(f"{node.name}_{key}", cast(Tensor, values).numpy().reshape(shape))
            for key, values in (("scale", node.scale), ("bias", node.bias))
        )
        scaled = self.add("Mul", (x, scale), f"{own}_scaled")
        return self.add("Add", (scaled, bias), own)

    def _pool(self, node: Node, x: str, own: str) -> str:
        kernel, stride, padding = (
            _pair(node.geometry[key]) for key in ("kernel_size", "stride", "padding")
        )
        windows = {"kernel_shape": kernel, "strides": stride, "pads": padding * 2}
        if node.kind == "max_pool":
            return self.add("MaxPool", (x,), own, **windows)
        if node.kind == "mean_pool":
            return self.add("AveragePool", (x,), own, count_include_pad=1, **windows)
        channels = node.shape[0]  # sums of spikes are exact as a convolution of ones
        ones = self.constant(f"{node.name}_ones", np.ones((channels, 1, *kernel), np.float32))
        return self.add("Conv", (x, ones), own, group=channels, **windows)

    def model(self, image: tuple[int, ...], classes: int) -> Any:
        """The checked model."""
        onnx = library("onnx")
        made = onnx.helper.make_graph(
            self.nodes,
            "step",
            [_value(INPUT, image), *self.inputs],
            [_value("scores", (classes,)), *self.outputs],
            list(self.constants.values()),
        )
        model = onnx.helper.make_model(
            made,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="nas-service",
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _value(name: str, shape: tuple[int, ...]) -> Any:
    return library("onnx").helper.make_tensor_value_info(name, FLOAT, ["B", *shape])


def _pair(value: Any) -> list[int]:
    return list(value) if isinstance(value, tuple | list) else [value, value]
