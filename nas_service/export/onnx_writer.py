"""Writes nodes of a `StepGraph` as nodes of ONNX."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nas_service.errors import not_installed
from nas_service.export.step_graph import INPUT, Node, StepGraph
from nas_service.export.trained_network import TrainedNetwork
from nas_service.snn.neurons import Neuron

OPSET, IR = 17, 8  # of 2022: readers of today know them
FLOAT = 1  # onnx.TensorProto.FLOAT
SCALED = "scaled"
Names = Mapping[str, str]


def library(name: str) -> ModuleType:
    """A library of the extra `onnx`.

    Raises:
        NasError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise not_installed(name, "onnx") from None


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

    def step(self, image: str, before: Names, late: Names, end: str = "") -> None:
        """Adds the nodes of one time step.

        Args:
            image: Name of the scaled image.
            before: Name of the potentials of each layer after the step before; none of them at 0.
            late: Name of the value of each node in the step before; none in the first step.
            end: Ends the name of each value, which begins with that of its node; a layer's
                potentials after the reset end with `_out` as well.
        """
        for node in self.graph.nodes[1:]:
            own = node.name + end
            terms = [late[name] for name in node.late if name in late]
            terms += [image if name == INPUT else name + end for name in node.inputs]
            x = self._sum(own, terms or [node.like + end])
            if not terms:  # nothing reaches the node in the first step
                x = self.add("Sub", (x, x), f"{own}_zeros")
            if node.neuron is None:
                self._compute(node, x, own)
            else:
                self._fire(own, x, before.get(node.name), node.neuron)

    def votes(self, readout: str, own: str) -> str:
        """The outputs of the network [B, classes, votes]."""
        shape = self.constant("votes", np.array([0, -1, self.graph.votes], np.int64))
        return self.add("Reshape", (readout, shape), own)

    def _sum(self, own: str, terms: Sequence[str]) -> str:
        total = terms[0]
        for i, term in enumerate(terms[1:]):
            total = self.add("Add", (total, term), f"{own}_sum{i}")
        return total

    def _fire(self, own: str, x: str, v: str | None, neuron: Neuron) -> str:
        moved = x if v is None else self.add("Sub", (x, v), f"{own}_distance")
        u = self.add("Mul", (moved, self.number(1 / neuron.tau)), f"{own}_change")
        if v is not None:
            u = self.add("Add", (v, u), f"{own}_u")
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
        if f"{node.name}_weight" not in self.constants:
            integers = self.constant(f"{node.name}_weight", cast(Tensor, node.weight).numpy())
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

    def model(self, name: str) -> Any:
        """The checked model."""
        onnx = library("onnx")
        made = onnx.helper.make_graph(
            self.nodes, name, self.inputs, self.outputs, list(self.constants.values())
        )
        model = onnx.helper.make_model(
            made,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="nas-service",
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def value(name: str, shape: tuple[int, ...]) -> Any:
    """What an input or output of B images is."""
    return library("onnx").helper.make_tensor_value_info(name, FLOAT, ["B", *shape])


def _pair(value: Any) -> list[int]:
    return list(value) if isinstance(value, tuple | list) else [value, value]
