"""One time step of a deployed network as a graph of a few kinds of nodes, which formats write.

B images, C channels, H W pixels. A node reads the sum of its inputs: the values that other nodes
had one time step before, then those of this step, in the order in which the network adds them, so
that results are equal to the last bit. Only neurons keep a state from step to step.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from nas_service.export.run import Run
from nas_service.snn.deployed import Affine, IntegerMatrix
from nas_service.snn.network import CellNetwork, Network, StepDropout
from nas_service.snn.neurons import LIF, Neuron
from nas_service.spaces.cell import OUTPUT, Edge

INPUT, READOUT = "image", "readout"  # the first and the last node
Values = dict[str, Tensor]  # by the name of a node
PASSED = (nn.Identity, StepDropout)  # modules that change nothing when they are scored


@dataclass(frozen=True, eq=False)
class Node:
    """One operation, named by its module in the network."""

    name: str
    kind: str  # a key of OPERATIONS, or "image", "neurons"
    inputs: tuple[str, ...] = ()  # nodes whose values of this time step are added
    late: tuple[str, ...] = ()  # nodes whose values of the step before are added, before these
    like: str = ""  # an earlier node of the same shape, for one that may read late values alone
    shape: tuple[int, ...] = ()  # of its values for one image
    weight: Tensor | None = None  # integers, int8: [C_out, C_in / groups, K, K] or [F_out, F_in]
    scale: Tensor | None = None  # [C_out] or [C]: its products or values are multiplied by it
    bias: Tensor | None = None  # [C_out] or [C]: added after that
    geometry: Mapping[str, Any] = field(default_factory=dict)  # of windows: stride, padding, ...
    bits: int = 0  # of a weight
    neuron: Neuron | None = None


@dataclass(frozen=True, eq=False)
class StepGraph:
    """All nodes of a network, in an order in which they can be computed.

    `run` and the loops of formats start with all states and late values at 0.
    """

    nodes: tuple[Node, ...]
    time_steps: int
    votes: int  # outputs of the last node that are averaged for each class

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    @property
    def late_names(self) -> tuple[str, ...]:
        """The nodes whose values are read one time step later."""
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.late))

    @property
    def neurons(self) -> tuple[Node, ...]:
        """The layers of neurons."""
        return tuple(node for node in self.nodes if node.kind == "neurons")

    def run(self, images: Tensor) -> Run:
        """Runs the graph node by node: the reference that exported files are held to.

        Args:
            images: Scaled images [B, C, H, W], or recordings [B, T, C, H, W].

        Returns:
            Class scores [B, classes], and spikes and potentials of all layers of neurons.
        """
        spikes: dict[str, list[Tensor]] = {node.name: [] for node in self.neurons}
        potentials: dict[str, list[Tensor]] = {node.name: [] for node in self.neurons}
        outputs = []
        for values, charged in self.steps(images):
            outputs.append(values[READOUT])
            for name in spikes:
                spikes[name].append(values[name])
                potentials[name].append(charged[name])
        steps = torch.stack(outputs).unflatten(-1, (-1, self.votes))
        return Run(steps.mean((0, -1)), _stacked(spikes), _stacked(potentials))

    def steps(self, images: Tensor) -> Iterator[tuple[Values, Values]]:
        """The values of all nodes, and the potentials before the reset, of each time step."""
        values: Values = {}
        states: Values = {}
        for t in range(self.time_steps):
            late = {name: values[name] for name in self.late_names if values}
            values = {INPUT: images[:, t] if images.dim() == 5 else images}
            charged: Values = {}
            for node in self.nodes[1:]:
                x = _sum(node, values, late)
                if node.neuron is None:
                    values[node.name] = OPERATIONS[node.kind](node, x)
                else:
                    v = states.get(node.name, torch.zeros_like(x))
                    charged[node.name] = u = v + (x - v) * (1 / node.neuron.tau)
                    values[node.name], states[node.name] = fire(node.neuron, u)
            yield values, charged


def _stacked(steps: Mapping[str, list[Tensor]]) -> Values:
    return {name: torch.stack(values) for name, values in steps.items()}


def _sum(node: Node, values: Values, late: Values) -> Tensor:
    """What a node reads; zeros where it reads late values alone in the first step."""
    terms = [late[name] for name in node.late if name in late]
    terms += [values[name] for name in node.inputs]
    if not terms:
        return torch.zeros_like(values[node.like])
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def fire(neuron: Neuron, u: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes of neurons with potentials u, and the potentials after the reset."""
    fired = u >= neuron.threshold if neuron.fires_at_threshold else u > neuron.threshold
    spikes = fired.to(u.dtype)
    if neuron.reset == "subtract":
        return spikes, u - spikes * neuron.threshold
    return spikes, torch.where(fired, torch.zeros_like(u), u)


def _along_channels(node: Node, x: Tensor) -> tuple[Tensor, Tensor]:
    shape = (-1, *[1] * (x.dim() - 2))
    return cast(Tensor, node.scale).view(shape), cast(Tensor, node.bias).view(shape)


def _affine(node: Node, x: Tensor) -> Tensor:
    scale, bias = _along_channels(node, x)
    return x * scale + bias


def _convolution(node: Node, x: Tensor) -> Tensor:
    weight = cast(Tensor, node.weight).to(x.dtype)
    return _affine(node, nn.functional.conv2d(x, weight, **node.geometry))


def _linear(node: Node, x: Tensor) -> Tensor:
    return _affine(node, nn.functional.linear(x, cast(Tensor, node.weight).to(x.dtype)))


def _pooled(function: Callable[..., Tensor], **extra: Any) -> Callable[[Node, Tensor], Tensor]:
    return lambda node, x: function(x, **node.geometry, **extra)


# Every kind of node beside `image` and `neurons`, with the values [B, ...] that it computes.
OPERATIONS: dict[str, Callable[[Node, Tensor], Tensor]] = {
    "sum": lambda node, x: x,
    "affine": _affine,
    "convolution": _convolution,
    "linear": _linear,
    "sum_pool": _pooled(nn.functional.avg_pool2d, divisor_override=1),
    "mean_pool": _pooled(nn.functional.avg_pool2d),
    "max_pool": _pooled(nn.functional.max_pool2d),
    "flatten": lambda node, x: x.flatten(1),
}


def step_graph(twin: Network, image: tuple[int, ...]) -> StepGraph:
    """The graph of a deployed network.

    Args:
        twin: As `deployed` returns it.
        image: Shape of one image [C, H, W].

    Returns:
        The graph.
    """
    builder = _Builder()
    builder.add(Node(INPUT, "image"))
    last = builder.chain("stem", twin.stem, INPUT)
    for name, part in twin.body.named_children():
        if isinstance(part, CellNetwork):
            last = builder.cell(name, part, last)
        else:
            last = builder.chain(name, part, last)
    last = builder.chain("hidden", twin.hidden, last)
    builder.chain(READOUT, twin.readout, last)
    graph = StepGraph(tuple(builder.nodes), twin.time_steps, twin.votes)
    return _with_shapes(graph, image)


class _Builder:
    """Collects nodes; a chain of modules becomes a chain of nodes."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, node: Node) -> str:
        self.nodes.append(node)
        return node.name

    def chain(self, name: str, part: nn.Module, source: str) -> str:
        """Adds the modules of a part; returns the node of its output."""
        for node in _nodes(name, part):
            source = self.add(replace(node, inputs=(source,)))
        return source

    def cell(self, name: str, cell: CellNetwork, source: str) -> str:
        """Adds a cell's edges and, for each node of several terms, their sum."""
        forward = [e for e in cell.ordered_edges if not e.backward]
        values: dict[int, str] = {}
        for number in range(OUTPUT + 1):
            now = [self._sent(name, cell, e, values) for e in forward if e.target == number]
            back = [e for e in cell.ordered_edges if e.backward and e.target == number]
            late = [_end(name, cell, edge) for edge in back]
            terms = [source, *now] if number == 0 else now
            node = Node(f"{name}_node{number}", "sum", tuple(terms), tuple(late), source)
            values[number] = terms[0] if len(terms) == 1 and not late else self.add(node)
        for edge in (e for e in cell.ordered_edges if e.backward):
            self._backward(name, cell, edge, values[edge.source])
        return values[OUTPUT]

    def _sent(self, name: str, cell: CellNetwork, edge: Edge, values: dict[int, str]) -> str:
        module = cell.edges[f"edge{edge.name}"]
        return self.chain(f"{name}_edge{edge.name}", module, values[edge.source])

    def _backward(self, name: str, cell: CellNetwork, edge: Edge, source: str) -> None:
        """Adds a backward edge, which ends in a node of its own also where it has no module."""
        end = _end(name, cell, edge)
        if self._sent(name, cell, edge, {edge.source: source}) != end:
            self.add(Node(end, "sum", (source,)))


def _end(name: str, cell: CellNetwork, edge: Edge) -> str:
    """The name of the node at the end of a backward edge."""
    part = f"{name}_edge{edge.name}"
    nodes = list(_nodes(part, cell.edges[f"edge{edge.name}"]))
    return nodes[-1].name if nodes else part


def _nodes(part: str, module: nn.Module) -> Iterator[Node]:
    """The nodes of a chain of modules, not connected yet."""
    for path, step in _flat(module):
        if not isinstance(step, PASSED):
            node = _node(step)
            yield replace(node, name=_own_name(part, path, node.kind))


def _flat(
    part: nn.Module, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], nn.Module]]:
    """The modules of a sequence in the order they run, with their names."""
    if not isinstance(part, nn.Sequential):
        yield path, part
        return
    for name, module in part.named_children():
        yield from _flat(module, (*path, name))


# How a node is named after its part and what it does; a matrix has the name of the part alone.
ROLES = {"affine": "norm", "sum_pool": "pool", "mean_pool": "pool", "max_pool": "pool"}


def _own_name(part: str, path: tuple[str, ...], kind: str) -> str:
    """The name of a node: its part, the named stage of an edge, and what it does."""
    role = () if kind in ("convolution", "linear") else (ROLES.get(kind, kind),)
    return "_".join((part, *(name for name in path if not name.isdecimal()), *role))


def _node(module: nn.Module) -> Node:
    """The node of a module, not named yet."""
    match module:
        case IntegerMatrix():
            kind = "linear" if module.convolution is None else "convolution"
            return Node(
                "",
                kind,
                weight=module.weight,
                scale=module.scale,
                bias=module.bias,
                geometry=module.convolution or {},
                bits=module.bits,
            )
        case Affine():
            return Node("", "affine", scale=module.scale, bias=module.bias)
        case LIF():
            return Node("", "neurons", neuron=module.neuron)
        case nn.AvgPool2d():
            kind = "sum_pool" if module.divisor_override == 1 else "mean_pool"
            return Node("", kind, geometry=_windows(module))
        case nn.MaxPool2d():
            return Node("", "max_pool", geometry=_windows(module))
        case nn.Flatten():
            return Node("", "flatten")
    raise TypeError(f"no node for a {type(module).__name__}")


def _windows(pool: nn.AvgPool2d | nn.MaxPool2d) -> dict[str, Any]:
    return {"kernel_size": pool.kernel_size, "stride": pool.stride, "padding": pool.padding}


def _with_shapes(graph: StepGraph, image: tuple[int, ...]) -> StepGraph:
    """The graph with the shape of each node's values, computed for an image of zeros."""
    values, _ = next(graph.steps(torch.zeros(1, *image)))
    shapes = {name: tuple(x.shape[1:]) for name, x in values.items()}
    return replace(graph, nodes=tuple(replace(n, shape=shapes[n.name]) for n in graph.nodes))
