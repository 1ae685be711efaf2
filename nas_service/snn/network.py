"""The spiking network of an architecture. T time steps, B batch, C channels, H W pixels.

Time is folded into the batch: [T*B, C, H, W], time outermost. The image is the same at every
step (direct encoding), so the stem runs once and is repeated. In training the batch norm sees
all time steps together.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas_service.snn.neurons import LIF
from nas_service.snn.operations import BN_MOMENTUM, Style, build, conv_bn
from nas_service.snn.quantization import Rounding, quantize
from nas_service.spaces.architecture import EDGE_NAMES, EDGES, OUTPUT, Architecture, Cell
from nas_service.spaces.operations import OPERATIONS
from nas_service.spaces.task import Task


class CellNetwork(nn.Module):
    """A cell's live edges; node j is the sum of its incoming edges, the output is node 3."""

    def __init__(self, cell: Cell, channels: int, style: Style) -> None:
        super().__init__()
        self.edges = nn.ModuleDict()
        for edge, name in zip(EDGE_NAMES, cell.live().operations, strict=True):
            if OPERATIONS[name].kind != "zero":
                self.edges[f"edge{edge}"] = build(OPERATIONS[name], channels, style)

    def forward(self, x: Tensor) -> Tensor:  # [T*B, C, H, W] to the same
        nodes: list[Tensor | None] = [x, None, None, None]
        for (source, target), edge in zip(EDGES, EDGE_NAMES, strict=True):
            value = nodes[source]
            if f"edge{edge}" in self.edges and value is not None:
                sent = self.edges[f"edge{edge}"](value)
                before = nodes[target]
                nodes[target] = sent if before is None else before + sent
        output = nodes[OUTPUT]
        return torch.zeros_like(x) if output is None else output


def _reduction(channels: int, style: Style) -> nn.Sequential:
    """Between two cells: channels double, the map's side halves."""
    return nn.Sequential(
        nn.BatchNorm2d(channels, momentum=BN_MOMENTUM),
        style.lif(),
        *conv_bn(channels, 2 * channels, 3, style),
        nn.AvgPool2d(2),
    )


class Network(nn.Module):
    """Stem, cells with reductions between them, classifier with a vote per class.

    Each entry of `blocks` holds exactly one weight matrix and every parameter that belongs to it.
    """

    def __init__(
        self, architecture: Architecture, task: Task, votes: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        a = architecture
        side = task.head_side(len(a.cells), a.head_pool)
        self.time_steps, self.votes = a.time_steps, votes
        style = Style(a.time_steps, Rounding(a.weight_bits))
        self.stem = nn.Sequential(*conv_bn(task.channels, a.channels, 3, style))
        body: list[nn.Module] = []
        for k, cell in enumerate(a.cells):
            channels = a.channels * 2**k
            body += [_reduction(channels // 2, style)] if k else []
            body += [CellNetwork(cell, channels, style)]
        self.body = nn.Sequential(*body)
        last = a.channels * 2 ** (len(a.cells) - 1)
        hidden = nn.Linear(last * side**2, a.hidden, bias=False)
        self.hidden = nn.Sequential(
            nn.BatchNorm2d(last, momentum=BN_MOMENTUM),
            style.lif(),
            nn.AvgPool2d(a.head_pool),
            nn.Flatten(),
            nn.Dropout(dropout),
            quantize(hidden, style.rounding),
        )
        readout = nn.Linear(a.hidden, task.classes * votes)
        self.readout = nn.Sequential(style.lif(), quantize(readout, style.rounding))

    def forward(self, images: Tensor) -> Tensor:  # [B, C, H, W] to class scores [B, classes]
        current = self.stem(images)  # the same at every step
        x = current.expand(self.time_steps, *current.shape).flatten(0, 1)  # [T*B, C, H, W]
        scores: Tensor = self.readout(self.hidden(self.body(x)))  # [T*B, classes * votes]
        votes = scores.unflatten(0, (self.time_steps, -1)).unflatten(-1, (-1, self.votes))
        return torch.mean(votes, (0, -1))

    def blocks(self) -> dict[str, nn.Module]:
        """The modules that hold one weight matrix each, by name, in the order they run."""
        found: dict[str, nn.Module] = {"stem": self.stem}
        for k, part in enumerate(self.body):
            if isinstance(part, CellNetwork):
                edges = part.edges.items()
                found |= {f"cell{k // 2}.{e}": m for e, m in edges if list(m.parameters())}
            else:
                found |= {f"reduction{k // 2}": part}
        return found | {"hidden": self.hidden, "readout": self.readout}


def lif_layers(network: nn.Module) -> Sequence[LIF]:
    """Every layer of neurons, in the order of construction."""
    return [module for module in network.modules() if isinstance(module, LIF)]
