"""What a network asks of a chip: weight matrices, and how often an inference multiplies by them."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from hw_models.errors import WorkloadError

KINDS = ("conv", "linear")
MAX_LAYERS = 10_000
MAX_SIZE = 2**24  # of one side or one channel count: beyond any network, far below overflow


@dataclass(frozen=True)
class Layer:
    """One weight matrix: a convolution on square maps, or a linear layer (kernel 1 on 1x1)."""

    name: str
    kind: str
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    in_size: int = 1  # side of the input map
    out_size: int = 1  # side of the convolution's own output map
    pool: int = 1  # pooling right behind it
    weight_bits: int = 8
    spike_rate: float = 1.0  # share of inputs that spike, 0..1
    parameters: int | None = None  # every trained number of the layer; None: just the weights

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise self._wrong("kind", f"one of {', '.join(KINDS)}")
        for name in ("in_channels", "out_channels", "kernel", "stride", "in_size", "out_size"):
            self._whole(name, MAX_SIZE)
        self._whole("pool", self.out_size)
        self._whole("weight_bits", 32)
        rate = self.spike_rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise self._wrong("spike_rate", "a share in 0..1")
        if self.parameters is not None:
            self._whole("parameters", 2**60, least=self.weights)

    def _whole(self, name: str, most: int, least: int = 1) -> None:
        value = getattr(self, name)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(name, f"a whole number in {least}..{most}")

    def _wrong(self, name: str, right: str) -> WorkloadError:
        value = getattr(self, name)
        return WorkloadError(f"layer {self.name!r}: {name} = {value!r:.60}, {right} is needed")

    @property
    def rows(self) -> int:
        """Inputs of the matrix."""
        return self.in_channels * self.kernel**2

    @property
    def weights(self) -> int:
        return self.rows * self.out_channels

    @property
    def trained_numbers(self) -> int:
        return self.weights if self.parameters is None else self.parameters

    @property
    def pooled_size(self) -> int:
        """Side of the map behind the pooling."""
        return self.out_size // self.pool


@dataclass(frozen=True)
class Workload:
    """The layers of a network in the order they run, and the time steps of an inference."""

    layers: tuple[Layer, ...]
    time_steps: int

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= MAX_LAYERS:
            raise WorkloadError(f"{len(self.layers)} layers: 1..{MAX_LAYERS} are possible")
        if type(self.time_steps) is not int or not 1 <= self.time_steps <= 2**16:
            raise WorkloadError(f"time_steps = {self.time_steps!r:.60}: 1..65536 is possible")
        names = [layer.name for layer in self.layers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise WorkloadError(f"layer names {twice} stand twice")

    @property
    def parameters(self) -> int:
        return sum(layer.trained_numbers for layer in self.layers)

    def with_spike_rates(self, rates: Mapping[str, float]) -> "Workload":
        """The same layers at other spike rates; a name that is no layer is an error."""
        if unknown := sorted(set(rates) - {layer.name for layer in self.layers}):
            raise WorkloadError(f"spike rates for {unknown}: no such layers")
        layers = (replace(x, spike_rate=rates.get(x.name, x.spike_rate)) for x in self.layers)
        return Workload(tuple(layers), self.time_steps)

    def at_rate(self, rate: float) -> "Workload":
        """The same layers, all at one spike rate; rate 0 gives the least that can be asked."""
        return self.with_spike_rates({layer.name: rate for layer in self.layers})

    def to_json(self) -> dict[str, Any]:
        return {"time_steps": self.time_steps, "layers": [asdict(x) for x in self.layers]}

    @classmethod
    def from_json(cls, data: object) -> "Workload":
        """A layer list; raises WorkloadError naming layer, key and what would be right.

        A linear layer may say `in_features` and `out_features` for its channels.
        """
        top = _table(data, {"time_steps", "layers"}, {"time_steps", "layers"}, "layer list")
        layers = top["layers"]
        if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
            raise WorkloadError(f"layers: a list of 1..{MAX_LAYERS} tables is needed")
        return cls(tuple(_layer(x, f"layer{i}") for i, x in enumerate(layers)), top["time_steps"])


_FEATURES = {"in_features": "in_channels", "out_features": "out_channels"}
_KEYS = {f.name for f in fields(Layer)}


def _layer(data: object, name: str) -> Layer:
    keys = _KEYS | set(_FEATURES)
    values = _table(data, keys, {"kind"}, name)
    if not isinstance(values["kind"], str) or not isinstance(values.get("name", name), str):
        raise WorkloadError(f"{name}: kind and name are words")
    if values["kind"] == "linear":
        values = {_FEATURES.get(key, key): value for key, value in values.items()}
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
