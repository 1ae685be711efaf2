"""What a chip computes for a network: layers in the order they run, and which reads which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hw_models.errors import WorkloadError
from hw_models.layer import Layer
from hw_models.layer_list import MAX_LAYERS, read_layers, stored_layer
from hw_models.reading import misfit, sent_bits, uncharged_poolings

MAX_STEPS = 2**16


@dataclass(frozen=True)
class Workload:
    """The layers of a network in the order they run, and the time steps of an inference.

    A layer reads the sum (or the concatenation) of the outputs of its sources.

    Raises:
        WorkloadError: Layers that do not fit together, or a number of time steps out of range.
    """

    layers: tuple[Layer, ...]
    time_steps: int

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= MAX_LAYERS:
            raise WorkloadError(f"{len(self.layers)} layers: 1..{MAX_LAYERS} are needed")
        if type(self.time_steps) is not int or not 1 <= self.time_steps <= MAX_STEPS:
            raise WorkloadError(f"time_steps = {self.time_steps!r:.60}: 1..{MAX_STEPS} is needed")
        for layer, read in zip(self.layers, self.predecessors, strict=True):
            if layer.once and (layer.feedback or not all(self.layers[i].once for i in read)):
                raise layer._wrong("once", "false for a layer that reads spikes of other layers")
            if len(layer.rates) not in (1, self.time_steps):
                raise layer._wrong("spike_rate", f"one rate, or {self.time_steps} for the steps,")
            _check_input(layer, [self.layers[i] for i in read])
            known = {x.name: x for x in self.layers} if layer.feedback else {}
            if unknown := sorted(set(layer.feedback) - known.keys()):
                raise layer._wrong("feedback", f"names of layers, not {unknown[0]!r:.60},")
            _check_input(layer, [known[name] for name in layer.feedback])

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the layers that each layer reads.

        Raises:
            WorkloadError: Two layers have one name, or a source is no layer before its reader.
        """
        known: dict[str, int] = {}
        positions = []
        for i, layer in enumerate(self.layers):
            if layer.name in known:
                raise WorkloadError(f"layer name {layer.name!r:.60} is given twice")
            names = layer.sources
            if unknown := sorted(set(names or ()) - known.keys()):
                raise layer._wrong("sources", f"names of layers before it, not {unknown[0]!r:.60},")
            positions.append(_positions(names, known, i))
            known[layer.name] = i
        return tuple(positions)

    @cached_property
    def loops(self) -> tuple[int, ...]:
        """Number of the feedback loop each layer is in, from 1; 0 where it is in none.

        Loops that share a layer are one: none of their layers begins a time step before all have
        ended the previous one.
        """
        place = {layer.name: i for i, layer in enumerate(self.layers)}
        late = [(i, place[n]) for i, x in enumerate(self.layers) for n in x.feedback]
        edges = [(p, i) for i, read in enumerate(self.predecessors) for p in read]
        return loops_of(len(self.layers), edges, late)

    @cached_property
    def sent_bits(self) -> tuple[int, ...]:
        """Bits that each layer sends in a time step."""
        place = {layer.name: i for i, layer in enumerate(self.layers)}
        late = ([place[name] for name in x.feedback] for x in self.layers)
        return sent_bits(
            self.layers, [(*now, *back) for now, back in zip(self.predecessors, late, strict=True)]
        )

    @cached_property
    def derived(self) -> dict[str, Any]:
        """What other modules computed from this workload and keep with it, by name."""
        return {}

    @cached_property
    def parameters(self) -> int:
        """Parameters of all layers."""
        return sum(layer.trained_numbers for layer in self.layers)

    @cached_property
    def unnamed_poolings(self) -> list[str]:
        """Warnings: a map shrinks, and no layer is charged for the pooling."""
        between = [
            f"{reader.name} reads {pixels} of the {source.map_pixels} pixels of {source.name}: "
            "a pooling that no layer names costs nothing"
            for reader, source, pixels in uncharged_poolings(self.layers, self.predecessors)
        ]
        return between + [
            f"{x.name} gives {x.map_pixels} of its {x.out_pixels} pixels without a pooling window: "
            "this costs nothing"
            for x in self._cropped()
        ]

    def _cropped(self) -> list[Layer]:
        """Layers whose readers get fewer pixels, with no additions of the layer or its readers."""
        readers: dict[int, list[Layer]] = {}
        for layer, read in zip(self.layers, self.predecessors, strict=True):
            for i in read:
                readers.setdefault(i, []).append(layer)
        smaller = (
            i for i, x in enumerate(self.layers) if x.pool_taps == 1 and x.map_pixels < x.out_pixels
        )
        return [
            self.layers[i]
            for i in smaller
            if i in readers and not any(x.input_adds for x in readers[i])
        ]

    def with_spike_rates(self, rates: Mapping[str, float | Sequence[float]]) -> "Workload":
        """The same layers at other spike rates.

        Args:
            rates: layer -> share of its inputs that spike, or one per time step.

        Returns:
            The workload; layers that are not named keep their rates.

        Raises:
            WorkloadError: A name that is no layer, or a rate outside of 0..1.
        """
        if unknown := sorted(set(rates) - {layer.name for layer in self.layers}):
            raise WorkloadError(f"spike rates for {unknown}: no such layers")
        layers = (x.with_rate(rates[x.name]) if x.name in rates else x for x in self.layers)
        return Workload(tuple(layers), self.time_steps)

    def at_rate(self, rate: float) -> "Workload":
        """The same layers, all at one spike rate; rate 0 gives a lower bound of every cost."""
        return self.with_spike_rates({layer.name: rate for layer in self.layers})

    def to_json(self) -> dict[str, Any]:
        """The layer list that `from_json` reads."""
        return {"time_steps": self.time_steps, "layers": [stored_layer(x) for x in self.layers]}

    @classmethod
    def from_json(cls, data: object) -> "Workload":
        """A workload from a layer list.

        Args:
            data: `{"time_steps": T, "layers": [...]}` with the fields of `Layer`; a linear layer
                may give `in_features` and `out_features` for its channels.

        Returns:
            The workload, validated.

        Raises:
            WorkloadError: Naming layer, key and what would be right.
        """
        read = read_layers(data)
        return cls(read.layers, read.time_steps)


def _positions(names: Sequence[str] | None, known: Mapping[str, int], i: int) -> tuple[int, ...]:
    if names is None:
        return (i - 1,) if i else ()
    return tuple(sorted({known[name] for name in names}))


def _check_input(layer: Layer, sources: Sequence[Layer]) -> None:
    """Raise WorkloadError where a layer cannot read the outputs of its sources."""
    if not layer.rearranged and (wrong := misfit(layer, sources)):
        raise layer._wrong(*wrong)


def loops_of(
    size: int, edges: Sequence[tuple[int, int]], late: Sequence[tuple[int, int]]
) -> tuple[int, ...]:
    """Which feedback loop each layer is in.

    Args:
        size: Number of layers.
        edges: (layer, a layer that reads it).
        late: (layer, a layer that it reads one time step late).

    Returns:
        The number of each layer's loop from 1, 0 where it is in none.
    """
    edges = [*edges, *((source, reader) for reader, source in late)]
    reverse = [(b, a) for a, b in edges] if late else []
    loops = [0] * size
    for number, (reader, source) in enumerate(late, 1):
        for i in _reachable(reader, edges) & _reachable(source, reverse):
            loops[i] = number
    return tuple(loops)


def _reachable(start: int, edges: Sequence[tuple[int, int]]) -> set[int]:
    """Layers that edges lead to from one layer, itself among them."""
    reached, new = {start}, {start}
    while new:
        new = {b for a, b in edges if a in new} - reached
        reached |= new
    return reached
