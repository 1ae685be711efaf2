"""The spiking network of an architecture. T time steps, B batch, C channels, H W pixels.

Time is folded into the batch: [T*B, C, H, W], time outermost. A still image is the same at every
step (direct encoding), so the stem runs once and is repeated. In training the batch norm sees
all time steps together, or each by itself where the style asks for it.
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
    """A cell's live edges; node j is the sum of its incoming edges, the output is node 3.

    Edges out of one node whose neurons are alike fire alike: their spikes are computed once.
    """

    def __init__(self, cell: Cell, channels: int, style: Style, bits: dict[str, int]) -> None:
        super().__init__()
        self.wires = cell.live().edges  # by source: what a node holds is complete when it sends
        self.edges = nn.ModuleDict()
        for wire in self.wires:
            own = style.with_bits(bits[wire.name])
            self.edges[f"edge{wire.name}"] = build(wire.operation, channels, own)

    def forward(self, x: Tensor) -> Tensor:  # [T*B, C, H, W] to the same
        nodes: Nodes = [x, None, None, None]
        fired: dict[tuple[int, Neuron], Tensor] = {}
        for wire in self.wires:
            value = nodes[wire.source]
            if value is not None:
                _add(nodes, wire.target, self._send(wire, value, fired))
        output = nodes[OUTPUT]
        return torch.zeros_like(x) if output is None else output

    def blocks(self) -> dict[str, nn.Module]:
        """The modules that hold one weight matrix each, in the order they run."""
        wires = sorted(self.wires, key=lambda e: (not e.backward, e.pair))
        return {
            f"edge{w.name}{matrix}": self.edges.get_submodule(f"edge{w.name}{matrix}")
            for w in wires
            for matrix in w.operation.suffixes
        }

    def _send(
        self, wire: CellEdge, value: Tensor, fired: dict[tuple[int, Neuron], Tensor]
    ) -> Tensor:
        edge = self.edges[f"edge{wire.name}"]
        if not wire.operation.weighted:
            return edge(value)  # type: ignore[no-any-return]
        neurons, *rest = _stages(edge)
        key = wire.source, cast(Neuron, neurons.neuron)
        if key not in fired:
            fired[key] = neurons(value)
        y = fired[key]
        for module in rest:
            y = module(y)
        return y


class RecurrentCell(CellNetwork):
    """A cell with backward edges, one time step after the other.

    What a node sends over a backward edge is added to what its target sends a step later. In the
    first step nothing has come: a node that has no other input holds zeros, as in SNASNet. Batch
    norms see each step by itself.
    """

    def __init__(self, cell: Cell, channels: int, style: Style, bits: dict[str, int]) -> None:
        super().__init__(cell, channels, replace(style, norm_each_step=False), bits)
        self.time_steps = style.time_steps

    def forward(self, x: Tensor) -> Tensor:  # [T*B, C, H, W] to the same
        states: dict[nn.Module, LIFBoxFeedForwardState] = {}
        late: Nodes = [None] * (OUTPUT + 1)
        outputs = []
        for t, current in enumerate(x.unflatten(0, (self.time_steps, -1))):
            nodes, late = late, [None] * (OUTPUT + 1)
            _add(nodes, 0, current)
            self._run(nodes, nodes, states, backward=False)
            if t + 1 < self.time_steps:
                self._run(nodes, late, states, backward=True)
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
        """Sends over all edges of one direction what their sources hold in this step."""
        for wire in self.wires:
            if wire.backward == backward:
                value = nodes[wire.source]
                if value is None:
                    value = torch.zeros_like(cast(Tensor, nodes[0]))
                for module in _stages(self.edges[f"edge{wire.name}"]):
                    value = _stepped(module, value, states)
                _add(targets, wire.target, value)


def _stages(edge: nn.Module) -> list[nn.Module]:
    """The modules of an edge, one after the other: neurons, matrix, norm; twice if separable."""
    if not isinstance(edge, nn.Sequential):
        return [edge]
    return [module for part in edge for module in _stages(part)]


def _stepped(
    module: nn.Module, x: Tensor, states: dict[nn.Module, LIFBoxFeedForwardState]
) -> Tensor:
    """One time step of a module [B, ...]; neurons keep their state in `states`."""
    if not isinstance(module, LIF):
        return module(x)  # type: ignore[no-any-return]
    state = states.get(module) or LIFBoxFeedForwardState(v=torch.zeros_like(x))
    spikes, states[module] = module.activation(x, state, module.p, module.dt)
    return cast(Tensor, spikes)


def _add(nodes: Nodes, at: int, value: Tensor) -> None:
    before = nodes[at]
    nodes[at] = value if before is None else before + value


class StepDropout(nn.Module):
    """Dropout [T*B, F] that drops the same features in all time steps of an image."""

    def __init__(self, share: float, time_steps: int) -> None:
        super().__init__()
        self.share, self.time_steps = share, time_steps

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return x
        steps = x.unflatten(0, (self.time_steps, -1))
        kept = nn.functional.dropout(torch.ones_like(steps[0]), self.share)
        dropped: Tensor = steps * kept
        return dropped.flatten(0, 1)


def _reduction(channels: int, wider: int, style: Style) -> nn.Sequential:
    """Between two cells: the channels of the next, half the side."""
    return nn.Sequential(
        *style.norm_lif(channels), *conv_bn(channels, wider, 3, style), nn.AvgPool2d(2)
    )


class Network(nn.Module):
    """Stem, cells with reductions between them, classifier with a vote per class.

    Each entry of `blocks` holds exactly one weight matrix and every parameter that belongs to it.
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
        """Class scores [B, classes] of images [B, C, H, W], or of frames [B, T, C, H, W]."""
        if images.dim() == 5:
            x = self.stem(_fast(images.transpose(0, 1).flatten(0, 1)))
        else:
            x = torch.cat([self.stem(_fast(images))] * self.time_steps)  # the same at every step
        scores: Tensor = self.readout(self.hidden(self.body(x)))  # [T*B, classes * votes]
        votes: Tensor = scores.unflatten(0, (self.time_steps, -1)).unflatten(-1, (-1, self.votes))
        return votes.mean((0, -1))

    @property
    def cells(self) -> list[CellNetwork]:
        return [part for part in self.body if isinstance(part, CellNetwork)]

    def blocks(self) -> dict[str, nn.Module]:
        """The modules that hold one weight matrix each, by name, in the order they run."""
        found: dict[str, nn.Module] = {"stem": self.stem}
        for name, part in self.body.named_children():
            if isinstance(part, CellNetwork):
                found |= {f"{name}.{edge}": block for edge, block in part.blocks().items()}
            else:
                found[name] = part
        return found | {"hidden": self.hidden, "readout": self.readout}


def _fast(images: Tensor) -> Tensor:
    """In the layout that convolutions of spikes are fast in."""
    return images.contiguous(memory_format=torch.channels_last)


def _body(a: Architecture, style: Style) -> Iterator[tuple[str, nn.Module]]:
    """Cells, and the reductions between them, by name."""
    for k, (cell, width) in enumerate(zip(a.cells, a.widths, strict=True)):
        if k:
            name = f"reduction{k - 1}"
            yield name, _reduction(a.widths[k - 1], width, style.with_bits(a.bits(name)))
        bits = {e.name: a.bits(f"cell{k}.edge{e.name}") for e in cell.edges}
        kind = RecurrentCell if cell.recurrent else CellNetwork
        yield f"cell{k}", kind(cell, width, style, bits)


def lif_layers(network: nn.Module) -> Sequence[LIF]:
    """Every layer of neurons, in the order of construction."""
    return [module for module in network.modules() if isinstance(module, LIF)]
