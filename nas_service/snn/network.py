"""The spiking network of an architecture. T time steps, B batch, C channels, H W pixels.

Time is folded into the batch: [T*B, C, H, W], with time as the outer dimension. A still image is
the same at every step (direct encoding), so the stem runs once and its output is repeated. In
training a batch norm computes its statistics over all time steps together, or over each step
separately where the style asks for it.

Names of modules are names of stored tensors, and the order in which modules are made decides their
random initial weights and their numbers in an optimizer: neither may change.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

import torch
from norse.torch.functional.lif_box import LIFBoxFeedForwardState
from torch import Tensor, nn

from nas_service.snn.neurons import LIF, SNASNET, Neuron
from nas_service.snn.operations import BN_MOMENTUM, Style, build, conv_bn
from nas_service.snn.quantization import Rounding, quantize
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import OUTPUT, Cell
from nas_service.spaces.cell import Edge as CellEdge
from nas_service.spaces.task import Task

Nodes = list[Tensor | None]


class CellNetwork(nn.Module):
    """The live edges of a cell; a node is the sum of its incoming edges, node 3 the output.

    Edges that leave one node with equal neurons have equal spikes, which are computed once.

    Args:
        cell: The cell.
        channels: Channels C of its maps.
        style: Settings of all modules.
        bits: Weight bits by the name of an edge.
    """

    def __init__(self, cell: Cell, channels: int, style: Style, bits: dict[str, int]) -> None:
        super().__init__()
        self.shares_spikes = True  # False: every edge runs its own neurons, as a chip does
        self.ordered_edges = cell.live().edges  # by source: a node is complete before it is read
        self.edges = nn.ModuleDict()
        for edge in self.ordered_edges:
            own = style.with_bits(bits[edge.name])
            self.edges[f"edge{edge.name}"] = build(edge.operation, channels, own)

    def forward(self, x: Tensor) -> Tensor:  # [T*B, C, H, W] to the same
        """The map of node 3 from that of node 0."""
        nodes: Nodes = [x, None, None, None]
        spikes: dict[tuple[int, Neuron], Tensor] = {}
        for edge in self.ordered_edges:
            value = nodes[edge.source]
            if value is not None:
                _add(nodes, edge.target, self._send(edge, value, spikes))
        output = nodes[OUTPUT]
        return torch.zeros_like(x) if output is None else output

    def blocks(self) -> dict[str, nn.Module]:
        """The modules that hold one weight matrix each, by name, in the order they run."""
        edges = sorted(self.ordered_edges, key=lambda e: (not e.backward, e.pair))
        return {
            f"edge{edge.name}{matrix}": self.edges.get_submodule(f"edge{edge.name}{matrix}")
            for edge in edges
            for matrix in edge.operation.suffixes
        }

    def _send(
        self, edge: CellEdge, value: Tensor, spikes: dict[tuple[int, Neuron], Tensor]
    ) -> Tensor:
        """The output of an edge; `spikes` holds those of all nodes and kinds of neurons so far."""
        operation = self.edges[f"edge{edge.name}"]
        if not edge.operation.weighted:
            return operation(value)  # type: ignore[no-any-return]
        neurons, *rest = _stages(operation)
        key = edge.source, cast(Neuron, neurons.neuron)
        if key not in spikes or not self.shares_spikes:
            spikes[key] = neurons(value)
        y = spikes[key]
        for module in rest:
            y = module(y)
        return y


class RecurrentCell(CellNetwork):
    """A cell with backward edges, which runs one time step after the other.

    The output of a backward edge is added to its target in the next step. In the first step a node
    without other input is zero, as in SNASNet. Batch norms compute statistics of each step.
    """

    def __init__(self, cell: Cell, channels: int, style: Style, bits: dict[str, int]) -> None:
        super().__init__(cell, channels, replace(style, norm_each_step=False), bits)
        self.time_steps = style.time_steps

    def forward(self, x: Tensor) -> Tensor:  # [T*B, C, H, W] to the same
        """The maps of node 3 from those of node 0, step by step."""
        states: dict[nn.Module, LIFBoxFeedForwardState] = {}
        delayed: Nodes = [None] * (OUTPUT + 1)
        outputs = []
        for t, current in enumerate(x.unflatten(0, (self.time_steps, -1))):
            nodes, delayed = delayed, [None] * (OUTPUT + 1)
            _add(nodes, 0, current)
            self._run(nodes, nodes, states, backward=False)
            if t + 1 < self.time_steps:
                self._run(nodes, delayed, states, backward=True)
            output = nodes[OUTPUT]
            outputs.append(torch.zeros_like(current) if output is None else output)
        return torch.cat(outputs)

    def _run(
        self,
        nodes: Nodes,
        targets: Nodes,
        states: dict[nn.Module, LIFBoxFeedForwardState],
        *,
        backward: bool,
    ) -> None:
        """Runs all edges of one direction for one time step."""
        for edge in self.ordered_edges:
            if edge.backward == backward:
                value = nodes[edge.source]
                if value is None:
                    value = torch.zeros_like(cast(Tensor, nodes[0]))
                for module in _stages(self.edges[f"edge{edge.name}"]):
                    value = _stepped(module, value, states)
                _add(targets, edge.target, value)


def _stages(edge: nn.Module) -> list[nn.Module]:
    """The modules of an edge in order: neurons, matrix, norm; twice if separable."""
    if not isinstance(edge, nn.Sequential):
        return [edge]
    return [module for part in edge for module in _stages(part)]


def _stepped(
    module: nn.Module, x: Tensor, states: dict[nn.Module, LIFBoxFeedForwardState]
) -> Tensor:
    """One time step [B, ...] of a module; `states` holds the membrane potentials of neurons."""
    if not isinstance(module, LIF):
        return module(x)  # type: ignore[no-any-return]
    state = states.get(module) or LIFBoxFeedForwardState(v=torch.zeros_like(x))
    spikes, states[module] = module.activation(x, state, module.p, module.dt)
    return cast(Tensor, spikes)


def _add(nodes: Nodes, node: int, value: Tensor) -> None:
    before = nodes[node]
    nodes[node] = value if before is None else before + value


class StepDropout(nn.Module):
    """Dropout [T*B, F] that drops the same features in all time steps of an image."""

    def __init__(self, share: float, time_steps: int) -> None:
        super().__init__()
        self.share, self.time_steps = share, time_steps

    def forward(self, x: Tensor) -> Tensor:
        """The features with some set to 0 in training; unchanged otherwise."""
        if not self.training or self.share == 0:
            return x
        steps = x.unflatten(0, (self.time_steps, -1))
        mask = nn.functional.dropout(torch.ones_like(steps[0]), self.share)
        dropped: Tensor = steps * mask
        return dropped.flatten(0, 1)


def _reduction(channels: int, wider: int, style: Style) -> nn.Sequential:
    """The block between two cells: it changes the channels and halves the side."""
    return nn.Sequential(
        *style.norm_lif(channels), *conv_bn(channels, wider, 3, style), nn.AvgPool2d(2)
    )


class Network(nn.Module):
    """Stem, cells with reductions between them, and a classifier.

    Each entry of `blocks` holds exactly one weight matrix and every parameter that belongs to it.

    Args:
        architecture: The candidate.
        task: Shape and classes of the images.
        votes: Outputs that are averaged for each class.
        dropout: Share of the classifier's inputs that is dropped in training, 0..1.
        neuron: The neurons; the architecture sets their threshold.
        rounding: How weights are quantized; the architecture sets their bits.
        norm_each_step: Batch norms compute statistics of each time step in training.
        momentum: Of the running statistics of batch norms.
    """

    def __init__(
        self,
        architecture: Architecture,
        task: Task,
        votes: int = 1,
        dropout: float = 0.0,
        *,
        neuron: Neuron = SNASNET,
        rounding: Rounding | None = None,
        norm_each_step: bool = False,
        momentum: float = BN_MOMENTUM,
    ) -> None:
        super().__init__()
        a = architecture
        neuron = replace(neuron, threshold=a.threshold)
        style = Style(a.time_steps, rounding or Rounding(8), neuron, norm_each_step, momentum)
        self.time_steps, self.votes = a.time_steps, votes
        once = replace(style.with_bits(a.bits("stem")), norm_each_step=False)
        self.stem = nn.Sequential(
            *conv_bn(task.channels, a.widths[0], 3, once, stride=a.stem_stride)
        )
        self.body = nn.Sequential(OrderedDict(_body(a, style)))
        side = task.head_side(len(a.cells), a.head_pool, a.stem_stride)
        pool = task.last_side(len(a.cells), a.stem_stride) // side
        hidden = nn.Linear(a.widths[-1] * side**2, a.hidden, bias=False)
        self.hidden = nn.Sequential(
            *style.norm_lif(a.widths[-1]),
            nn.AvgPool2d(pool),
            nn.Flatten(),
            StepDropout(dropout, a.time_steps),
            quantize(hidden, style.with_bits(a.bits("hidden")).rounding),
        )
        readout = nn.Linear(a.hidden, task.classes * votes)
        self.readout = nn.Sequential(
            style.lif(), quantize(readout, style.with_bits(a.bits("readout")).rounding)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Class scores [B, classes] of images [B, C, H, W], or of recordings [B, T, C, H, W]."""
        if images.dim() == 5:
            x = self.stem(_channels_last(images.transpose(0, 1).flatten(0, 1)))
        else:
            x = torch.cat([self.stem(_channels_last(images))] * self.time_steps)
        scores: Tensor = self.readout(self.hidden(self.body(x)))  # [T*B, classes * votes]
        votes: Tensor = scores.unflatten(0, (self.time_steps, -1)).unflatten(-1, (-1, self.votes))
        return votes.mean((0, -1))

    @property
    def cells(self) -> list[CellNetwork]:
        """The cells in the order they run."""
        return [part for part in self.body if isinstance(part, CellNetwork)]

    def blocks(self) -> dict[str, nn.Module]:
        """The modules that hold one weight matrix each, by name, in the order they run."""
        blocks: dict[str, nn.Module] = {"stem": self.stem}
        for name, part in self.body.named_children():
            if isinstance(part, CellNetwork):
                blocks |= {f"{name}.{edge}": block for edge, block in part.blocks().items()}
            else:
                blocks[name] = part
        return blocks | {"hidden": self.hidden, "readout": self.readout}


def _channels_last(images: Tensor) -> Tensor:
    """The layout in which convolutions of spikes are fast."""
    return images.contiguous(memory_format=torch.channels_last)


def _body(a: Architecture, style: Style) -> Iterator[tuple[str, nn.Module]]:
    """Cells and the reductions between them, with their names."""
    for k, (cell, width) in enumerate(zip(a.cells, a.widths, strict=True)):
        if k:
            name = f"reduction{k - 1}"
            yield name, _reduction(a.widths[k - 1], width, style.with_bits(a.bits(name)))
        bits = {e.name: a.bits(f"cell{k}.edge{e.name}") for e in cell.edges}
        kind = RecurrentCell if cell.recurrent else CellNetwork
        yield f"cell{k}", kind(cell, width, style, bits)


def lif_layers(network: nn.Module) -> Sequence[LIF]:
    """All layers of neurons of a network, in the order in which they were made."""
    return [module for module in network.modules() if isinstance(module, LIF)]
