"""The layers of a workload from the multiplications of one forward pass."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hw_models import Layer
from hw_models.reading import fits, reads_free_poolings
from nas_service.importers.nir_signal import before_head
from nas_service.importers.nir_values import Pair
from nas_service.importers.torch_signals import Addition, Chain, Signal, after, common
from nas_service.importers.torch_timing import Multiplication, Timing

log = logging.getLogger(__name__)

IMAGE = ""  # the owner of neurons before all layers


@dataclass(frozen=True)
class Pass:
    """What a forward pass has recorded."""

    multiplications: Sequence[Multiplication]
    outputs: Sequence[Signal]
    neurons: Mapping[str, int]  # by layer; IMAGE for those before all layers
    vectors: Mapping[str, int]  # trained numbers outside of matrices and their biases, by layer
    unpriced: frozenset[Addition] = frozenset()  # updates of neurons


def layers_of(run: Pass, time_steps: int) -> tuple[Layer, ...]:
    """The layers of a workload, each after those it reads.

    Args:
        run: A forward pass with at least one multiplication.
        time_steps: Time steps of an inference.

    Returns:
        The layers, with sources, rates and additions.

    Raises:
        WorkloadError: A layer is used several times, but not once in each time step.
    """
    timing = Timing(run.multiplications, time_steps)
    pools = _shared_poolings(run)
    last = [timing.uses[name][-1] for name in timing.layers]
    adds, neurons = _charged(run, last, pools), _owned(run.neurons, timing.layers)
    vectors = _owned(run.vectors, timing.layers)
    layers: dict[str, Layer] = {}
    for name, use in zip(timing.layers, last, strict=True):
        layer = Layer(
            name=name,
            **{**use.shape, **pools[name].keys()},
            **_timed(name, timing, layers),
            neurons=neurons[name] if run.neurons else None,
            input_adds=adds[name],
        )
        layer = replace(layer, parameters=layer.trained_numbers + vectors[name])
        sources = [layers[x] for x in layer.sources or ()]
        known = fits(layer, sources) and not _reads_a_part(layer, sources, use.signal, pools)
        layers[name] = layer if known else replace(layer, rearranged=True)
    return tuple(layers.values())


def _reads_a_part(
    layer: Layer, sources: Sequence[Layer], signal: Signal, pools: "Mapping[str, _SharedPooling]"
) -> bool:
    """True for a part of a map, such as every second pixel, which is no pooling."""
    pooled = any(after(chain, pools[use.layer].chain) for use, chain in signal.reads.items())
    return not pooled and reads_free_poolings(layer, sources)


def _timed(name: str, timing: Timing, before: Mapping[str, Layer]) -> dict[str, Any]:
    """When a layer is multiplied, and what it then reads; `before` are the layers before it."""
    now, late = timing.reads[name]
    constant = not late and all(before[x].once for x in now)
    if timing.once(name) and not constant:
        log.warning("layer %r is multiplied after the time steps: costed in each of them", name)
    return {
        "once": timing.once(name) and constant,
        "spike_rate": timing.rates(name),
        "sources": tuple(x for x in timing.layers if x in now),
        "feedback": tuple(x for x in timing.layers if x in late),
    }


def _owned(counts: Mapping[str, int], order: Sequence[str]) -> dict[str, int]:
    """A count for each layer; those before all layers are the first layer's."""
    owned = {name: counts.get(name, 0) for name in order}
    owned[order[0]] += counts.get(IMAGE, 0)
    return owned


@dataclass(frozen=True)
class _SharedPooling:
    """The poolings of a layer that all its readers share."""

    chain: Chain
    channels: int  # of the layer
    out_size: Pair  # of its own map

    @property
    def window(self) -> Pair:
        """Sides of the window of all poolings as one."""
        rows, columns = (math.prod(p.window[i] for p in self.chain) for i in (0, 1))
        return rows, columns

    @property
    def is_one_window(self) -> bool:
        """True where one pooling with `window` makes as many additions as all of them."""
        if not self.chain:
            return True
        values = self.channels * math.prod(self.chain[-1].size)
        return sum(p.addition.count for p in self.chain) == (math.prod(self.window) - 1) * values

    @property
    def counted(self) -> Chain:
        """The poolings whose additions the layer counts itself."""
        return self.chain if self.is_one_window else ()

    def keys(self) -> dict[str, Pair]:
        """`pool` and `pooled_size` of the layer."""
        if not self.chain:
            return {}
        pool = self.window if self.is_one_window else (1, 1)
        size = self.chain[-1].size
        whole = all(n // k == m for n, k, m in zip(self.out_size, pool, size, strict=True))
        return {"pool": pool} if whole else {"pool": pool, "pooled_size": size}

    @property
    def without_those_of_a_head(self) -> "_SharedPooling":
        """The poolings that stay with the layer where a head alone reads it."""
        return replace(self, chain=self.chain[: before_head(self.chain, self.out_size)])


def _shared_poolings(run: Pass) -> dict[str, _SharedPooling]:
    """The poolings of each layer; where a head alone reads it, those of spikes are the head's."""
    chains: dict[str, list[Chain]] = {m.use.layer: [] for m in run.multiplications}
    readers: dict[str, set[tuple[str, str]]] = {name: set() for name in chains}
    read = [((m.use.layer, m.shape["kind"]), m.signal) for m in run.multiplications]
    for reader, signal in (*read, *((("", ""), signal) for signal in run.outputs)):
        for use, chain in signal.reads.items():
            chains[use.layer].append(chain)
            readers[use.layer].add(reader)
    shapes = {m.use.layer: m.shape for m in run.multiplications}
    pools = {
        name: _SharedPooling(
            common(own) if own else (),
            shapes[name]["out_channels"],
            shapes[name].get("out_size", (1, 1)),
        )
        for name, own in chains.items()
    }
    heads = {name for name, kinds in readers.items() if [k for _, k in kinds] == ["linear"]}
    return {
        name: pooling.without_those_of_a_head if name in heads else pooling
        for name, pooling in pools.items()
    }


def _charged(
    run: Pass, order: Sequence[Multiplication], pools: Mapping[str, _SharedPooling]
) -> dict[str, int]:
    """The additions before each layer: each is charged to the first layer that reads it.

    What no layer reads is charged to the last one.

    Args:
        run: The forward pass.
        order: The last use of each layer, in the order of the layers.
        pools: The poolings of each layer.
    """
    charged = run.unpriced
    adds: dict[str, int] = {}
    for m in order:
        new = _additions(m.signal, pools) - charged
        adds[m.use.layer] = sum(x.count for x in new)
        charged |= new
    unread = frozenset[Addition]().union(*(_additions(s, pools) for s in run.outputs)) - charged
    adds[order[-1].use.layer] += sum(x.count for x in unread if not x.decodes)
    return adds


def _additions(signal: Signal, pools: Mapping[str, _SharedPooling]) -> frozenset[Addition]:
    """All additions of a signal but those that the layers count themselves."""
    own = (after(chain, pools[use.layer].counted) for use, chain in signal.reads.items())
    return signal.adds.union(*own)
