"""Layer lists: the JSON form of a workload, and what it may leave out."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from hw_models.assumption import Assumption
from hw_models.errors import WorkloadError
from hw_models.layer import KINDS, SIDES, Layer, Side, pair, square_or_pair

MAX_LAYERS = 10_000
Shape = tuple[int, ...]  # (channels, height, width), or (features,)
FIGURES: dict[str, Any] = {
    "weight_bits": 8,
    "input_bits": 1,
    "spike_rate": 1.0,
}  # assumed where none is given
REMEDIES = {"weight_bits": "--weight-bits", "spike_rate": "--spike-rate"}
IMAGE_BITS = "--input-bits"  # says the bits of layers that read the network's own input

_LISTS = {*SIDES, "spike_rate", "sources", "feedback"}
_FEATURES = {"in_features": "in_channels", "out_features": "out_channels"}
_KEYS = {f.name for f in fields(Layer)}
_RARE = {
    "pooled_size": None, "padding": None, "rearranged": False, "synapses": None, "scales": None,
}  # fmt: skip


@dataclass(frozen=True)
class LayerList:
    """What a layer list says, and what was assumed where it says nothing.

    Args:
        layers: The layers.
        time_steps: Time steps of an inference, unchecked.
        assumed: Figures that the list leaves out.
    """

    layers: tuple[Layer, ...]
    time_steps: Any
    assumed: tuple[Assumption, ...]


def read_layers(
    data: object, time_steps: int | None = None, input_shape: Shape | None = None
) -> LayerList:
    """Reads a layer list.

    A convolution without `in_size` reads the map that its sources give, or `input_shape`. One
    without `out_size` has the output that its `padding` gives; without that it is assumed to
    keep the map (divided by the stride), and a convolution without `kernel` to be 1x1.

    Args:
        data: `{"time_steps": T, "layers": [...]}` with the fields of `Layer`; a linear layer
            may give `in_features` and `out_features` for its channels.
        time_steps: Time steps of an inference, instead of the list's.
        input_shape: Shape of what the network reads, (channels, height, width) or (features,).

    Returns:
        The layers, the time steps, and what was assumed.

    Raises:
        WorkloadError: Naming layer, key and what would be right.
    """
    needed = {"layers"} if time_steps is not None else {"time_steps", "layers"}
    top = _table(data, {"time_steps", "layers"}, needed, "layer list")
    layers = top["layers"]
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise WorkloadError(f"layers: a list of 1..{MAX_LAYERS} tables is needed")
    reader = _LayerReader(input_shape)
    for i, entry in enumerate(layers):
        reader.add(entry, f"layer{i}")
    steps = top["time_steps"] if time_steps is None else time_steps
    return LayerList(tuple(reader.layers), steps, reader.assumptions())


def stored_layer(layer: Layer) -> dict[str, Any]:
    """A layer as a layer list holds it, without the less common keys that say nothing."""
    pairs = asdict(layer).items()
    return {
        k: list(v) if isinstance(v, tuple) else v
        for k, v in pairs
        if k not in _RARE or v != _RARE[k]
    }


@dataclass
class _LayerReader:
    """Reads entries of a layer list one after the other."""

    input_shape: Shape | None
    layers: list[Layer] = field(default_factory=list)
    named: dict[str, Layer] = field(default_factory=dict)
    assumed: dict[tuple[str, Any, str], list[str]] = field(default_factory=dict)

    def add(self, data: object, name: str) -> None:
        """Reads the next entry, whose name is the default of its key `name`."""
        values = _values(data, name)
        shape = self.input_shape if self._reads_input(values) else None
        if values["kind"] == "conv":
            self._fill_sizes(values, shape)
        if shape is not None and not values.get("rearranged"):
            _check_input(values, shape)
        bits = IMAGE_BITS if self._reads_input(values) else "input_bits in the file"
        for figure, value in FIGURES.items():
            self._assume(values, figure, value, REMEDIES.get(figure, bits))
        self.layers.append(Layer(**values))
        self.named[values["name"]] = self.layers[-1]

    def assumptions(self) -> tuple[Assumption, ...]:
        """What was assumed so far; without names where it is the same for all layers."""
        return tuple(
            Assumption(figure, value, () if len(names) == len(self.layers) else (*names,), remedy)
            for (figure, value, remedy), names in self.assumed.items()
        )

    def _reads_input(self, values: Mapping[str, Any]) -> bool:
        """True for an entry that reads what the network reads; a recurrent one may read nothing."""
        if values.get("sources") is None:
            return not self.layers
        return values["sources"] == () and not values.get("feedback")

    def _maps(self, values: Mapping[str, Any]) -> set[Side]:
        """Sizes of the maps that an entry reads of other layers, as far as they are known."""
        names = [values.get("sources"), values.get("feedback")]
        known = [x for part in names if isinstance(part, tuple) for x in part]
        layers = [self.named[x] for x in known if isinstance(x, str) and x in self.named]
        if names[0] is None:
            layers += self.layers[-1:]
        return {x.map_size for x in layers}

    def _assume(self, values: dict[str, Any], key: str, value: Any, remedy: str) -> None:
        if key not in values:
            values[key] = value
            self.assumed.setdefault((key, value, remedy), []).append(values["name"])

    def _without_map(self, values: Mapping[str, Any]) -> WorkloadError:
        remedy = f" (or nas cost --input {values['in_channels']},16,16)"
        return WorkloadError(
            f"layer {values['name']!r}: in_size is needed, the side of the map that it reads, such "
            f"as 16{remedy if self._reads_input(values) else ''}"
        )

    def _fill_sizes(self, values: dict[str, Any], shape: Shape | None) -> None:
        """Sizes that follow from the network's input or from other layers, or are assumed."""
        self._assume(values, "kernel", 1, "kernel in the file")
        maps = self._maps(values) if shape is None else {_map_of(values, shape)}
        if "in_size" not in values:
            if len(maps) != 1 or values.get("rearranged"):
                raise self._without_map(values)
            values["in_size"] = next(iter(maps))
        if "padding" not in values and (kept := _kept(values)):
            self._assume(values, "out_size", kept, "out_size or padding in the file")


def _map_of(values: Mapping[str, Any], shape: Shape) -> Side:
    """Size of the map that a convolution reads of the network's input."""
    if len(shape) != 3:
        name = values["name"]
        raise WorkloadError(f"layer {name!r} reads maps: --input C,H,W is needed, not {shape}")
    return square_or_pair(*shape[1:])


def _check_input(values: Mapping[str, Any], shape: Shape) -> None:
    """WorkloadError where a layer cannot read an input of this shape."""
    is_conv = values["kind"] == "conv"
    expected: dict[str, Side] = {"in_channels": shape[0] if is_conv else math.prod(shape)}
    if is_conv:
        expected["in_size"] = _map_of(values, shape)
    for key, size in expected.items():
        if values[key] != size and values[key] != pair(size):
            raise WorkloadError(
                f"layer {values['name']!r}: {key} = {values[key]}, but the input is {shape}"
            )


def _kept(values: Mapping[str, Any]) -> Any:
    """The output of a convolution that keeps its map, divided by the stride; None if unknown."""
    sides = values["in_size"], values.get("stride", 1)
    if not all(_is_side(side) for side in sides):
        return None
    return square_or_pair(*(-(-n // s) for n, s in zip(*map(pair, sides), strict=True)))


def _is_side(side: Any) -> bool:
    parts = side if isinstance(side, tuple) and len(side) == 2 else (side,)
    return all(type(n) is int and n > 0 for n in parts)


def _values(data: object, name: str) -> dict[str, Any]:
    """The entry of one layer with a name, its keys known, its lists as tuples."""
    values = _table(data, _KEYS | set(_FEATURES), {"kind"}, name)
    if not isinstance(values["kind"], str) or not isinstance(values.get("name", name), str):
        raise WorkloadError(f"{name}: kind and name must be text")
    if not values.get("name", name):
        raise WorkloadError(f"{name}: name = '': a name of at least one character is needed")
    if values["kind"] not in KINDS:
        right = f"one of {', '.join(KINDS)} is needed"
        raise WorkloadError(f"layer {name!r}: kind = {values['kind']!r:.60}, {right}")
    if values["kind"] == "linear":
        _demand_one_name(values, name)
        values = {_FEATURES.get(key, key): value for key, value in values.items()}
    lists = (k for k, v in values.items() if isinstance(v, list) and k in _LISTS)
    tuples = {k: tuple(values[k]) for k in lists if k not in SIDES or len(values[k]) == 2}
    needed = {"in_channels", "out_channels"}
    return {"name": name, **_table(values, _KEYS, needed, name), **tuples}


def _demand_one_name(values: Mapping[str, Any], name: str) -> None:
    for features, channels in _FEATURES.items():
        if features in values and channels in values:
            raise WorkloadError(f"{name}: {features} and {channels} are the same, give one of them")


def _table(data: object, keys: set[str], needed: set[str], what: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise WorkloadError(f"{what}: a table is needed, not {data!r:.60}")
    for key in data:
        if key not in keys:
            near = difflib.get_close_matches(str(key), sorted(keys), n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            known = ", ".join(sorted(keys))
            raise WorkloadError(f"{what}: unknown key {key!r:.60}{hint} (known: {known})")
    if missing := sorted(needed - set(data)):
        raise WorkloadError(f"{what}: missing {missing}")
    return data
