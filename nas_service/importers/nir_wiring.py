"""From what each layer reads to the layers: sources, feedback, poolings and additions."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hw_models import Layer
from hw_models.layer import pair
from hw_models.reading import fits, free_poolings
from nas_service.importers.nir_signal import Reading, Signal


def wired(
    layers: Mapping[str, Layer], inputs: Mapping[str, Signal], ends: Sequence[Signal]
) -> tuple[Layer, ...]:
    """The layers of a graph, each after those it reads.

    Poolings belong to a layer where everything that reads it does so through the same ones. All
    other additions are charged once, to the first layer that reads them, or to the last layer
    where none does.

    Args:
        layers: By name, without sources, each after those it reads in the same time step.
        inputs: What each layer reads.
        ends: What the graph puts out.
    """
    own = _own_poolings(layers, [*inputs.values(), *ends])
    pooled = {name: _pooled(x, own[name]) if name in own else x for name, x in layers.items()}
    in_layer = [name for name, x in own.items() if x.is_one_window(layers[name].out_channels)]
    early = _read_only_late(inputs, ends)
    order = _ordered({name: i for i, name in enumerate(layers)}, inputs, early)
    adds = _additions(order, inputs, ends, in_layer)
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
        return fits(layer, now) and fits(layer, late) and not any(free_poolings(layer, now))


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


def _own_poolings(layers: Mapping[str, Layer], signals: Iterable[Signal]) -> dict[str, Reading]:
    """The poolings of each layer that everything reads it through; only of layers with such."""
    seen: dict[str, set[Reading]] = {name: set() for name in layers}
    for signal in signals:
        for x in signal.readings:
            seen[x.layer].add(replace(x, late=False))
    only = {name: next(iter(x)) for name, x in seen.items() if len(x) == 1}
    return {name: x for name, x in only.items() if x.poolings}


def _pooled(layer: Layer, reading: Reading) -> Layer:
    """A layer with its poolings: as one window, or just the map where one costs something else."""
    if not reading.is_one_window(layer.out_channels):
        return replace(layer, pooled_size=reading.size)
    sides = zip(pair(layer.out_size), reading.window, strict=True)
    whole = tuple(size // window for size, window in sides) == reading.size
    return replace(layer, pool=reading.window, pooled_size=None if whole else reading.size)


def _additions(
    order: Iterable[str],
    inputs: Mapping[str, Signal],
    ends: Iterable[Signal],
    in_layer: Collection[str],
) -> dict[str, int]:
    """The additions that each layer makes before its matrix.

    Args:
        order: The layers.
        inputs: What each reads.
        ends: What the graph puts out.
        in_layer: Layers that make the additions of their poolings themselves.
    """
    adds = dict.fromkeys(order, 0)
    last = next(reversed(adds))
    counted: set[str] = set()
    for name, signal in (*((name, inputs[name]) for name in adds), *((last, x) for x in ends)):
        made = signal.adds.union(*(x.adds for x in signal.readings if x.layer not in in_layer))
        adds[name] += sum(n for node, n in made if node not in counted)
        counted |= {node for node, _ in made}
    return adds
