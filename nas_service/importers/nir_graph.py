"""The layers of a NIR graph, and the poolings, neurons and additions between them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hw_models import Layer, WorkloadError
from nas_service.importers.nir_convolutions import convolution
from nas_service.importers.nir_inputs import demand_declared, input_shapes
from nas_service.importers.nir_shapes import flattened, linear
from nas_service.importers.nir_signal import ANALOG_BITS, SPIKES, Reading, Signal, Values, joined
from nas_service.importers.nir_structure import Structure, structure
from nas_service.importers.nir_values import (
    Shape,
    demand_channel_scales,
    demand_neurons,
    parameters_of,
    wrong,
)
from nas_service.importers.nir_windows import pooled_size, pooling_window
from nas_service.importers.nir_wiring import wired

MAX_BITS = 32
CONVOLUTIONS = ("Conv1d", "Conv2d")
MATRICES = (*CONVOLUTIONS, "Linear", "Affine")
POOLS = ("AvgPool2d", "SumPool2d")
SPIKING = ("LIF", "IF", "CubaLIF")
NEURONS = (*SPIKING, "LI", "CubaLI", "I")
OTHERS = ("Input", "Output", "Flatten", "Scale", "Threshold", "Delay")
KINDS = (*MATRICES, *POOLS, *NEURONS, *OTHERS, "NIRGraph")


@dataclass(frozen=True)
class GraphLayers:
    """The layers of a graph, and whose bits do not follow from its operations.

    Args:
        layers: Each after those it reads in the same time step.
        image: Names of those that read what the graph reads, whose bits the caller gives.
        analog: Names of those that read values without steps, to which ANALOG_BITS are given.
    """

    layers: tuple[Layer, ...]
    image: tuple[str, ...]
    analog: tuple[str, ...]


def read_layers(
    graph: Any, weight_bits: int, input_bits: int, input_shape: Sequence[int] | None = None
) -> GraphLayers:
    """The layers of a NIR graph.

    Args:
        graph: A NIRGraph.
        weight_bits: Bits of all weights.
        input_bits: Bits of the values that the graph reads; 1 for spikes.
        input_shape: Shape of its input (C, H, W) or (N,), for a graph that does not say it.

    Returns:
        The layers, and the names of those whose bits do not follow from the graph.

    Raises:
        WorkloadError: A node has no counterpart on a chip; the message names it.
    """
    if type(input_bits) is not int or not 1 <= input_bits <= MAX_BITS:
        raise WorkloadError(f"input_bits = {input_bits!r:.60}: 1..{MAX_BITS} are possible")
    plan = structure(graph)
    for name, node in plan.nodes.items():
        _demand_known(name, node, plan.reads[name])
    shapes = input_shapes(plan, input_shape)
    run = _settled(plan, lambda late: _Run(weight_bits, input_bits, shapes, late))
    if not run.layers:
        raise WorkloadError("graph: no layer with weights")
    ends = [run.signals[name] for name in plan.ends]
    return GraphLayers(
        layers=wired(run.with_neurons(), run.inputs, ends),
        image=tuple(name for name, x in run.inputs.items() if x.values and x.values.of_image),
        analog=tuple(name for name, x in run.inputs.items() if x.values is None),
    )


def unknown_kind(name: str, kind: str) -> WorkloadError:
    """The error about a node of a kind that has no counterpart on a chip."""
    return WorkloadError(
        f"node {name!r:.100} is a {kind:.60}: known are {', '.join(KINDS)}; replace it by these, "
        "or give the network as a layer list (.json)"
    )


def _demand_known(name: str, node: Any, before: Sequence[str]) -> None:
    kind = type(node).__name__
    if kind not in KINDS:
        raise unknown_kind(name, kind)
    if not before and kind != "Input":
        raise WorkloadError(f"node {name!r:.100} ({kind}) reads nothing: an edge to it is needed")


def _settled(plan: Structure, new_run: Callable[[dict[str, Signal]], "_Run"]) -> "_Run":
    """The run over all nodes in which what they read one time step late has become known."""
    origins = list(dict.fromkeys(x for names in plan.late.values() for x in names))
    late: dict[str, Signal] = {}
    for _ in range(len(origins) + 3):
        run = new_run(late)
        for name, node in plan.nodes.items():
            run.add(name, node, plan.reads[name], plan.late.get(name, []))
        before, late = late, {name: run.signals[name] for name in origins}
        if late == before:
            return run
    growing = next(name for name in origins if late[name] != before[name])
    raise wrong(
        growing,
        "its values are added to themselves in every time step: neurons are missing in its loop",
    )


@dataclass
class _Run:
    """Collects the layers of a graph, node by node, each node after those that it reads."""

    weight_bits: int
    input_bits: int
    shapes: Mapping[str, Shape]  # of the graph's inputs
    late: Mapping[str, Signal]  # outputs of the time step before, as far as they are known
    layers: dict[str, Layer] = field(default_factory=dict)
    inputs: dict[str, Signal] = field(default_factory=dict)  # of the layers
    neurons: dict[str | None, int] = field(default_factory=dict)  # by layer; None before all
    signals: dict[str, Signal] = field(default_factory=dict)

    def add(self, name: str, node: Any, before: Sequence[str], late: Sequence[str]) -> None:
        """Adds a node that reads the nodes `before`, and `late` one time step late."""
        if not before:
            values = Values(2**self.input_bits - 1, of_image=True)
            self.signals[name] = Signal(frozenset(), self.shapes[name], values, from_image=True)
            return
        read = [self.signals[x] for x in before]
        read += [self.late[x].one_step_late() for x in late if x in self.late]
        names = " and ".join(map(repr, before))
        self.signals[name] = self._output(name, node, joined(name, read), f"{names:.100}")

    def _output(self, name: str, node: Any, signal: Signal, before: str) -> Signal:
        """The output of a node that reads this signal from the nodes `before`."""
        kind = type(node).__name__
        if kind in MATRICES:
            return self._matrix(name, node, kind, signal, before)
        if kind in POOLS:
            window = pooling_window(name, node)
            size = pooled_size(name, window, signal.shape, before)
            return signal.pooled(name, window.sides, size, mean=kind == "AvgPool2d")
        if kind in NEURONS or kind == "Threshold":
            demand_neurons(name, node, signal.shape)
            return self._neurons(kind, signal)
        if kind == "Flatten":
            return replace(signal, shape=flattened(name, node, signal.shape, before))
        if kind == "Scale":
            demand_channel_scales(name, node, signal.shape)
            return _scaled(name, signal)
        if kind == "Delay":  # a graph does not say how long a time step is: any delay is one
            return signal.one_step_late() if np.any(node.delay) else signal
        demand_declared(name, node, signal.shape, before)
        return signal

    def _matrix(self, name: str, node: Any, kind: str, signal: Signal, before: str) -> Signal:
        if kind in CONVOLUTIONS:
            shape = convolution(name, node, signal.shape, before)
            sides = shape["out_size"]
            out: Shape = (shape["out_channels"], *(sides if kind == "Conv2d" else sides[1:]))
        else:
            shape = linear(name, node, signal.shape, before, signal.is_image)
            out = (shape["out_channels"],)
        self.layers[name] = Layer(
            name=name,
            **shape,
            weight_bits=self.weight_bits,
            input_bits=_bits(name, signal.values),
            parameters=parameters_of(name, node),
        )
        self.inputs[name] = signal
        return Signal(frozenset([Reading(name)]), out, None)

    def _neurons(self, kind: str, signal: Signal) -> Signal:
        """Counts neurons for the layer before them; where branches meet, for the last one."""
        if kind != "Threshold":
            read = {x.layer for x in signal.readings if not x.late}
            owner = next((name for name in reversed(self.layers) if name in read), None)
            self.neurons[owner] = self.neurons.get(owner, 0) + signal.size
        return replace(signal, values=SPIKES if kind in (*SPIKING, "Threshold") else None)

    def with_neurons(self) -> dict[str, Layer]:
        """The layers with their neurons; those before all layers belong to the first.

        A graph without neurons is that of a network which is still to be converted: it has one
        neuron for each output of a layer, as a Layer assumes.
        """
        if not self.neurons:
            return self.layers
        counts = {name: self.neurons.get(name, 0) for name in self.layers}
        counts[next(iter(counts))] += self.neurons.get(None, 0)
        return {name: replace(x, neurons=counts[name]) for name, x in self.layers.items()}


def _bits(name: str, values: Values | None) -> int:
    """Bits of the values that a layer reads."""
    if values is None:
        return ANALOG_BITS
    if values.bits > MAX_BITS:
        raise wrong(name, f"it reads sums of {values.bits} bits: {MAX_BITS} are possible")
    return values.bits


def _scaled(name: str, signal: Signal) -> Signal:
    if signal.values is None:
        return signal
    return replace(signal, values=replace(signal.values, scales=signal.values.scales | {name}))
