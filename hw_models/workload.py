"""What a chip computes for a network: weight matrices, and how often an inference uses them."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

from hw_models.errors import WorkloadError

KINDS = ("conv", "linear")
MAX_LAYERS = 10_000
MAX_SIZE = 2**24  # of one side or one channel count: beyond any network, far below overflow
MAX_STEPS = 2**16


@dataclass(frozen=True)
class Layer:
    """One weight matrix: a convolution on square maps, or a linear layer (kernel 1 on 1x1).

    Raises:
        WorkloadError: A value that no layer can have; it names layer, key and what would be right.
    """

    name: str
    kind: str
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1  # in_channels for a depthwise convolution
    in_size: int = 1  # side of the input map
    out_size: int = 1  # side of the convolution's own output map
    pool: int = 1  # side of the pooling window after it
    weight_bits: int = 8
    input_bits: int = 1  # 1 for spikes; 8 for the pixels of a directly coded image
    once: bool = False  # inputs are the same at every time step: multiplied once per inference
    spike_rate: float | tuple[float, ...] = (
        1.0  # share of inputs that are not 0, or one per time step
    )
    parameters: int | None = None  # trained numbers of the layer; None: just the weights
    neurons: int | None = None  # membrane potentials kept for it; None: one per output
    input_adds: int = 0  # additions of branches and pooling windows before it, per time step
    sources: tuple[str, ...] | None = None  # layers it reads: None the previous one, () the image
    feedback: tuple[str, ...] = ()  # layers whose outputs of the previous time step it also reads

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise self._wrong("kind", f"one of {', '.join(KINDS)}")
        for name in ("in_channels", "out_channels", "kernel", "stride", "in_size", "out_size"):
            self._whole(name, MAX_SIZE)
        self._whole("groups", math.gcd(self.in_channels, self.out_channels))
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise self._wrong("groups", "a divisor of in_channels and out_channels")
        self._whole("out_size", self.largest_output)
        self._whole("pool", self.out_size)
        self._whole("weight_bits", 32)
        self._whole("input_bits", 32)
        self._whole("input_adds", 2**60, least=0)
        if self.neurons is not None:
            self._whole("neurons", 2**60, least=0)
        if self.parameters is not None:
            self._whole("parameters", 2**60, least=self.weights)
        if type(self.once) is not bool:
            raise self._wrong("once", "true or false")
        self._check_rates()
        if self.sources is not None and not all(isinstance(x, str) for x in self.sources):
            raise self._wrong("sources", "a list of layer names")
        if not all(isinstance(x, str) for x in self.feedback):
            raise self._wrong("feedback", "a list of layer names")

    def _check_rates(self) -> None:
        for rate in self.rates or (None,):
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
                raise self._wrong("spike_rate", "a share in 0..1, or one for each time step,")

    def _whole(self, name: str, most: int, least: int = 1) -> None:
        value = getattr(self, name)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(name, f"a whole number in {least}..{most}")

    def _wrong(self, name: str, right: str) -> WorkloadError:
        value = getattr(self, name)
        return WorkloadError(f"layer {self.name!r}: {name} = {value!r:.60}, {right} is needed")

    @property
    def rates(self) -> tuple[float, ...]:
        """Spike rates: one for all time steps, or one for each."""
        return self.spike_rate if isinstance(self.spike_rate, tuple) else (self.spike_rate,)

    @property
    def largest_output(self) -> int:
        """Side of the output map at full padding, the largest that a convolution can give."""
        return (self.in_size + self.kernel - 2) // self.stride + 1

    @property
    def rows(self) -> int:
        """Inputs of one output: rows of the matrix, of one group."""
        return self.in_channels // self.groups * self.kernel**2

    @property
    def weights(self) -> int:
        """Weights of the matrix, over all groups."""
        return self.rows * self.out_channels

    @property
    def trained_numbers(self) -> int:
        """Parameters to store: the weights where nothing else is given."""
        return self.weights if self.parameters is None else self.parameters

    @property
    def pooled_size(self) -> int:
        """Side of the map after the pooling."""
        return self.out_size // self.pool


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
            if len(layer.rates) not in (1, self.time_steps):
                raise layer._wrong("spike_rate", f"one rate, or {self.time_steps} for the steps,")
            _check_input(layer, [self.layers[i] for i in read])
            known = {x.name: x for x in self.layers} if layer.feedback else {}
            if unknown := sorted(set(layer.feedback) - known.keys()):
                raise layer._wrong("feedback", f"names of layers, not {unknown},")
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
                raise layer._wrong("sources", f"layers before it, not {unknown},")
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
    def derived(self) -> dict[str, Any]:
        """What other modules computed from this workload and keep with it, by name."""
        return {}

    @cached_property
    def parameters(self) -> int:
        """Parameters of all layers."""
        return sum(layer.trained_numbers for layer in self.layers)

    @cached_property
    def unnamed_poolings(self) -> list[str]:
        """Warnings: a layer reads a smaller map than its source gives, a pooling is missing."""
        return [
            f"{layer.name} reads {layer.in_size} of the {self.layers[i].pooled_size} pixels of "
            f"{self.layers[i].name}: a pooling that no layer names costs nothing"
            for layer, read in zip(self.layers, self.predecessors, strict=True)
            for i in read
            if layer.kind == "conv" and layer.in_size != self.layers[i].pooled_size
        ]

    def with_spike_rates(self, rates: Mapping[str, float | Sequence[float]]) -> "Workload":
        """The same layers at other spike rates.

        Args:
            rates: layer -> share of its inputs that spike, or one per time step.

        Raises:
            WorkloadError: A name that is no layer, or a rate outside of 0..1.
        """
        if unknown := sorted(set(rates) - {layer.name for layer in self.layers}):
            raise WorkloadError(f"spike rates for {unknown}: no such layers")
        layers = (
            replace(x, spike_rate=_rate(rates.get(x.name, x.spike_rate))) for x in self.layers
        )
        return Workload(tuple(layers), self.time_steps)

    def at_rate(self, rate: float) -> "Workload":
        """The same layers, all at one spike rate; rate 0 gives a lower bound of every cost."""
        return self.with_spike_rates({layer.name: rate for layer in self.layers})

    def to_json(self) -> dict[str, Any]:
        """The layer list that `from_json` reads."""
        return {"time_steps": self.time_steps, "layers": [_stored(x) for x in self.layers]}

    @classmethod
    def from_json(cls, data: object) -> "Workload":
        """A workload from a layer list.

        Args:
            data: `{"time_steps": T, "layers": [...]}` with the fields of `Layer`; a linear layer
                may give `in_features` and `out_features` for its channels.

        Raises:
            WorkloadError: Naming layer, key and what would be right.
        """
        top = _table(data, {"time_steps", "layers"}, {"time_steps", "layers"}, "layer list")
        layers = top["layers"]
        if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
            raise WorkloadError(f"layers: a list of 1..{MAX_LAYERS} tables is needed")
        return cls(tuple(_layer(x, f"layer{i}") for i, x in enumerate(layers)), top["time_steps"])


def _positions(names: Sequence[str] | None, known: Mapping[str, int], i: int) -> tuple[int, ...]:
    if names is None:
        return (i - 1,) if i else ()
    return tuple(sorted({known[name] for name in names}))


def _check_input(layer: Layer, sources: list[Layer]) -> None:
    """Raise WorkloadError where a layer cannot read the outputs of its sources."""
    if not sources:
        return
    channels = {sum(x.out_channels for x in sources), *_common(x.out_channels for x in sources)}
    if layer.kind == "linear":
        if not any(_flattened(layer.in_channels, c, sources) for c in channels):
            right = " or ".join(f"{c} times a square of the map" for c in sorted(channels))
            raise layer._wrong("in_channels", f"{right} of {sources[0].name!r}")
        return
    if layer.in_channels not in channels:
        right = " or ".join(map(str, sorted(channels)))
        raise layer._wrong("in_channels", f"{right}, the channels of {sources[0].name!r},")
    for source in sources:
        if source.pooled_size % layer.in_size:
            side = source.pooled_size
            raise layer._wrong("in_size", f"{side}, the map of {source.name!r}, or a part of it,")


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


def _common(values: Any) -> set[int]:
    distinct = set(values)
    return distinct if len(distinct) == 1 else set()


def _flattened(features: int, channels: int, sources: list[Layer]) -> bool:
    """True for channels times a square map that pooling can make of each source's map."""
    pixels, rest = divmod(features, channels)
    side = math.isqrt(pixels)
    return not rest and side**2 == pixels and all(1 <= side <= x.pooled_size for x in sources)


def _rate(rate: float | Sequence[float]) -> float | tuple[float, ...]:
    return tuple(rate) if isinstance(rate, Sequence) else rate


def _stored(layer: Layer) -> dict[str, Any]:
    pairs = asdict(layer).items()
    return {k: list(v) if isinstance(v, tuple) else v for k, v in pairs}


_FEATURES = {"in_features": "in_channels", "out_features": "out_channels"}
_KEYS = {f.name for f in fields(Layer)}


def _layer(data: object, name: str) -> Layer:
    keys = _KEYS | set(_FEATURES)
    values = _table(data, keys, {"kind"}, name)
    if not isinstance(values["kind"], str) or not isinstance(values.get("name", name), str):
        raise WorkloadError(f"{name}: kind and name must be text")
    if values["kind"] == "linear":
        values = {_FEATURES.get(key, key): value for key, value in values.items()}
    for key in ("spike_rate", "sources", "feedback"):
        if isinstance(values.get(key), list):
            values = {**values, key: tuple(values[key])}
    needed = {"in_channels", "out_channels"}
    return Layer(**{"name": name, **_table(values, _KEYS, needed, name)})


def _table(data: object, keys: set[str], needed: set[str], what: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise WorkloadError(f"{what}: a table is needed, not {data!r:.60}")
    for key in data:
        if key not in keys:
            near = difflib.get_close_matches(str(key), sorted(keys), n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise WorkloadError(f"{what}: unknown key {key!r:.60}{hint}")
    if missing := sorted(needed - set(data)):
        raise WorkloadError(f"{what}: missing {missing}")
    return data
