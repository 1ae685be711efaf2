"""From what each layer reads to the layers: sources, feedback, poolings and additions."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hw_models import Layer
from hw_models.layer import pair
from hw_models.reading import fits, reads_free_poolings
from nas_service.importers.nir_signal import Pooling, Signal, before_head


def wired(
    layers: Mapping[str, Layer], inputs: Mapping[str, Signal], ends: Sequence[Signal]
) -> tuple[Layer, ...]:
    """The layers of a graph, each after those it reads.

    Poolings through which everything reads a layer are its own, but where a head pools spikes:
    a trace has this pooling at the head, whether it pools one layer or the sum of several.
    All other additions are charged once, to the first layer that reads them, or to the last layer
    where none does.

    Args:
        layers: By name, without sources, each after those it reads in the same time step.
        inputs: What each layer reads.
        ends: What the graph puts out.

    Returns:
        The layers, with sources, feedback and additions.
    """
    own = _own_poolings(layers, [*inputs.values(), *ends])
    for name in _read_by_heads(layers, inputs, ends):
        own[name] = own[name][: before_head(own[name], pair(layers[name].out_size))]
    pooled = {name: _pooled(x, own[name]) for name, x in layers.items()}
    paid = {name: len(own[name]) if pooled[name].pool_taps > 1 else 0 for name in layers}
    early = _read_only_late(inputs, ends)
    order = _ordered({name: i for i, name in enumerate(layers)}, inputs, early)
    adds = _additions(order, inputs, ends, paid)
    complete = []
    for name in order:
        reads = _Reads.of(name, inputs[name], early, order)
        layer = replace(pooled[name], sources=reads.now, feedback=reads.late, input_adds=adds[name])
        complete.append(replace(layer, rearranged=not reads.are_plain(layer, pooled)))
    return tuple(complete)


@dataclass(frozen=True)
class _Reads:
    """The layers that a layer reads in the same time step, and those it reads one step late."""

    now: tuple[str, ...]
    late: tuple[str, ...]

    @classmethod
    def of(cls, name: str, signal: Signal, early: set[str], order: Mapping[str, int]) -> "_Reads":
        now: set[str] = set()
        late: set[str] = set()
        for x in signal.readings:
            is_late = name in early or (x.late and x.layer not in early)
            (late if is_late else now).add(x.layer)
        place = order.__getitem__
        return cls(tuple(sorted(now, key=place)), tuple(sorted(late, key=place)))

    def are_plain(self, layer: Layer, layers: Mapping[str, Layer]) -> bool:
        """True where a layer reads these as they are, or through poolings that it is charged for.

        Poolings before several layers are charged to one of them.
        """
        now, late = ([layers[name] for name in names] for names in (self.now, self.late))
        return fits(layer, now) and fits(layer, late) and not reads_free_poolings(layer, now)


def _read_only_late(inputs: Mapping[str, Signal], ends: Sequence[Signal]) -> set[str]:
    """Layers whose output everything reads one time step late.

    They can read late instead, as a delay before a matrix and after it are the same. So nothing
    waits for a multiplication of the last time step that nobody reads.
    """
    readings = [x for signal in (*inputs.values(), *ends) for x in signal.readings]
    early = {x.layer for x in readings if x.late} - {x.layer for x in readings if not x.late}
    while twice := {
        name
        for name in early
        if any(x.late and x.layer not in early for x in inputs[name].readings)
    }:
        early -= twice
    return early


def _ordered(
    place: Mapping[str, int], inputs: Mapping[str, Signal], early: set[str]
) -> dict[str, int]:
    """The places of the layers, those of `early` before the first that reads them."""
    order: dict[str, None] = {}
    for name in place:
        read = set() if name in early else {x.layer for x in inputs[name].readings} & early
        order |= dict.fromkeys([*sorted(read, key=place.__getitem__), name])
    return {name: i for i, name in enumerate(order)}


def _own_poolings(
    layers: Mapping[str, Layer], signals: Iterable[Signal]
) -> dict[str, tuple[Pooling, ...]]:
    """The poolings of each layer that everything reads it through."""
    own: dict[str, tuple[Pooling, ...]] = {}
    for signal in signals:
        for x in signal.readings:
            own[x.layer] = _common(own.get(x.layer, x.poolings), x.poolings)
    return {name: own.get(name, ()) for name in layers}


def _read_by_heads(
    layers: Mapping[str, Layer], inputs: Mapping[str, Signal], ends: Sequence[Signal]
) -> list[str]:
    """Layers whose only reader is a linear layer, in the same time step."""
    readers: dict[str, list[str]] = {name: [] for name in layers}
    for kind, signal in (
        *((layers[n].kind, x) for n, x in inputs.items()),
        *(("", x) for x in ends),
    ):
        for reading in signal.readings:
            readers[reading.layer].append("" if reading.late else kind)
    return [name for name, kinds in readers.items() if kinds == ["linear"]]


def _common(a: tuple[Pooling, ...], b: tuple[Pooling, ...]) -> tuple[Pooling, ...]:
    """The poolings with which both begin."""
    pairs = itertools.takewhile(lambda both: both[0] == both[1], zip(a, b, strict=False))
    return tuple(x for x, _ in pairs)


def _pooled(layer: Layer, poolings: Sequence[Pooling]) -> Layer:
    """A layer with its poolings: as one window, or just the map where one costs something else."""
    if not poolings:
        return layer
    size = poolings[-1].size
    window = tuple(math.prod(sides) for sides in zip(*(x.window for x in poolings), strict=True))
    values = layer.out_channels * math.prod(size)
    if sum(x.adds for x in poolings) != (math.prod(window) - 1) * values:
        return replace(layer, pooled_size=size)
    sides = zip(pair(layer.out_size), window, strict=True)
    whole = tuple(n // side for n, side in sides) == size
    return replace(layer, pool=(window[0], window[1]), pooled_size=None if whole else size)


def _additions(
    order: Iterable[str],
    inputs: Mapping[str, Signal],
    ends: Iterable[Signal],
    paid: Mapping[str, int],
) -> dict[str, int]:
    """The additions that each layer makes before its matrix.

    Args:
        order: The layers.
        inputs: What each reads.
        ends: What the graph puts out.
        paid: How many poolings a layer makes itself.
    """
    adds = dict.fromkeys(order, 0)
    last = next(reversed(adds))
    counted: set[str] = set()
    for name, signal in (*((name, inputs[name]) for name in adds), *((last, x) for x in ends)):
        poolings = {y for x in signal.readings for y in x.poolings[paid[x.layer] :]}
        made = signal.adds | {(x.name, x.adds) for x in poolings}
        adds[name] += sum(n for node, n in made if node not in counted)
        counted |= {node for node, _ in made}
    return adds
