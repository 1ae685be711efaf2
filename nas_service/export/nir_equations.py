"""NIR's equations as an exported file states them, in PyTorch: what such a file is checked with.

It reads the file alone: its nodes, its edges, and the metadata that say what NIR's nodes do not.
B images, C channels, H W pixels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import nir
import torch
from torch import Tensor, nn

Values = dict[str, Tensor]  # [B, ...] by the name of a node


class Equations:
    """A graph that `nir_format` wrote, its neurons at rest.

    Args:
        graph: A NIRGraph.
        facts: Its metadata.
    """

    def __init__(self, graph: Any, facts: Mapping[str, Any]) -> None:
        self.nodes = graph.nodes
        self.facts = facts
        self.late = {tuple(edge) for edge in facts["late_edges"]}
        self.delays = {name for name, node in self.nodes.items() if isinstance(node, nir.Delay)}
        self.order = sorted(self.nodes, key=lambda name: (name not in self.delays, name))
        self.sources = {name: self._sources(graph.edges, name) for name in self.nodes}
        self.states: Values = {}
        self.before: Values = {}

    def _sources(self, edges: Any, name: str) -> list[str]:
        """The nodes that a node adds up, those of the step before first."""
        sources = [a for a, b in edges if b == name]
        return sorted(sources, key=lambda a: not self._of_before(a, name) and a not in self.delays)

    def _of_before(self, source: str, name: str) -> bool:
        return (source, name) in self.late or name in self.delays

    def step(self, image: Tensor) -> Values:
        """The values of all nodes in the next time step, whose image is [B, C, H, W]."""
        values: Values = {}
        for name in self.order:
            terms = [
                (self.before if self._of_before(source, name) else values).get(source)
                for source in self.sources[name]
            ]
            values[name] = self._value(name, [x for x in terms if x is not None], image)
        self.before = values
        return values

    def _value(self, name: str, terms: list[Tensor], image: Tensor) -> Tensor:
        node = self.nodes[name]
        if isinstance(node, nir.Input):
            return image
        if not terms:  # in the first time step
            shape = (node.delay if name in self.delays else node.scale).shape
            return image.new_zeros((len(image), *shape))
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        if isinstance(node, nir.LIF):
            return self._fired(name, node, total)
        value: Tensor = FUNCTIONS[type(node)](node, total)
        return value

    def _fired(self, name: str, node: Any, x: Tensor) -> Tensor:
        """Spikes of a layer: one step of tau dv/dt = v_leak - v + r x, then threshold and reset."""
        tau, r, leak, threshold, v_reset = (
            _tensor(getattr(node, key)) for key in ("tau", "r", "v_leak", "v_threshold", "v_reset")
        )
        v = self.states.get(name, torch.zeros_like(x))
        u = v + (x * r + leak - v) * (self.facts["time_step"] / tau)
        at_least = self.facts["fires"] == "u >= v_threshold"
        fired: Tensor = u >= threshold if at_least else u > threshold
        after = u - threshold if self.facts["reset"] == "subtract" else v_reset
        self.states[name] = torch.where(fired, after, u)
        return fired.float()


def _tensor(values: Any) -> Tensor:
    tensor: Tensor = torch.from_numpy(values)
    return tensor


def _sides(node: Any, *keys: str) -> dict[str, Any]:
    return {key: tuple(int(n) for n in getattr(node, key)) for key in keys}


def _convolution(node: Any, x: Tensor) -> Tensor:
    sides = _sides(node, "stride", "padding", "dilation")
    sums = nn.functional.conv2d(x, _tensor(node.weight), groups=int(node.groups), **sides)
    return sums + _tensor(node.bias)[:, None, None]


def _pooled(node: Any, x: Tensor, divisor: int | None = None) -> Tensor:
    sides = _sides(node, "kernel_size", "stride", "padding")
    return nn.functional.avg_pool2d(x, **sides, divisor_override=divisor)


def _affine(node: Any, x: Tensor) -> Tensor:
    return nn.functional.linear(x, _tensor(node.weight)) + _tensor(node.bias)


# The kinds of nodes that keep no state, with the values that they compute.
FUNCTIONS: dict[type, Callable[[Any, Tensor], Tensor]] = {
    nir.Conv2d: _convolution,
    nir.Affine: _affine,
    nir.Scale: lambda node, x: x * _tensor(node.scale),
    nir.SumPool2d: lambda node, x: _pooled(node, x, 1),
    nir.AvgPool2d: _pooled,
    nir.Flatten: lambda node, x: x.flatten(int(node.start_dim), int(node.end_dim)),
    nir.Delay: lambda node, x: x,
    nir.Output: lambda node, x: x,
}
