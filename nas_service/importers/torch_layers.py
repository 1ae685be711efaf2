"""The layers of a workload from the multiplications of one forward pass.

A module may run one time step, all of them folded into the batch, or one after the other. In the
last case a layer is multiplied once in each step, or once less: a connection that leads back does
not transmit in the first step.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hw_models import Layer, WorkloadError
from hw_models.reading import fits
from nas_service.importers.torch_signals import Addition, Chain, Pair, Signal, Use, after, common

IMAGE = ""  # the owner of neurons before all layers


@dataclass(frozen=True)
class Multiplication:
    """One use of a weight matrix."""

    use: Use
    shape: Mapping[str, Any]  # of the Layer: kind, channels, sizes, bits, parameters
    signal: Signal  # what it reads
    rate: float  # share of its inputs that are not 0
    folded: bool  # all time steps are in the batch
    late: bool = False  # it reads the time step before


@dataclass(frozen=True)
class Pass:
    """What a forward pass has recorded."""

    multiplications: Sequence[Multiplication]
    outputs: Sequence[Signal]
    neurons: Mapping[str, int]  # by layer; IMAGE for those before all layers
    vectors: Mapping[str, int]  # trained numbers outside of matrices and their biases, by layer
    unpriced: frozenset[int] = frozenset()  # operations whose additions are neuron updates


def layers_of(run: Pass, time_steps: int) -> tuple[Layer, ...]:
    """The layers of a workload, each after those it reads.

    Args:
        run: A forward pass with at least one multiplication.
        time_steps: Time steps of an inference.

    Raises:
        WorkloadError: A layer is used several times, but not once in each time step.
    """
    uses: dict[str, list[Multiplication]] = {}
    for m in run.multiplications:
        uses.setdefault(m.use.layer, []).append(m)
    timing = _Timing(uses, time_steps)
    reads = {name: timing.reads(name) for name in uses}
    order = _ordered({name: now for name, (now, _) in reads.items()})
    pools = _shared_poolings(run)
    adds = _charged(run, [uses[name][-1] for name in order], pools)
    neurons, first = dict(run.neurons), order[0]
    neurons[first] = neurons.get(first, 0) + neurons.pop(IMAGE, 0)
    layers: dict[str, Layer] = {}
    for name in order:
        now, late = reads[name]
        extra = run.vectors.get(name, 0) + (run.vectors.get(IMAGE, 0) if name == first else 0)
        shape = uses[name][-1].shape
        layer = Layer(
            name=name,
            **{**shape, "parameters": shape["parameters"] + extra},
            **pools[name].keys(),
            once=timing.once(name),
            spike_rate=timing.rates(name),
            neurons=neurons.get(name, 0) if run.neurons else None,
            input_adds=adds[name],
            sources=tuple(x for x in order if x in now),
            feedback=tuple(x for x in order if x in late),
        )
        known = fits(layer, [layers[x] for x in layer.sources or ()])
        layers[name] = layer if known else replace(layer, rearranged=True)
    return tuple(layers.values())


@dataclass(frozen=True)
class _Timing:
    """In which time steps the layers of a pass are multiplied."""

    uses: Mapping[str, Sequence[Multiplication]]
    time_steps: int

    def first_step(self, name: str) -> int | None:
        """The step of a layer's first use; None where one use is for all steps."""
        own, n = self.uses[name], self.time_steps
        if len(own) == n > 1 or (len(own) == n - 1 > 0 and self._is_late(name)):
            return n - len(own)
        if len(own) == 1:
            return None
        raise WorkloadError(
            f"module {name!r}: it is used {len(own)} times in one pass: give one time step, or a "
            f"module that uses it in each of the {n} time steps, and every layer weights of its own"
        )

    def _is_late(self, name: str) -> bool:
        """True where a layer reads one that is used once in each step, for its next step."""
        read = {use.layer for m in self.uses[name] for use in m.signal.reads}
        return any(len(self.uses[x]) == self.time_steps for x in read)

    def reads(self, name: str) -> tuple[set[str], set[str]]:
        """The layers that a layer reads in the same time step, and one step late."""
        own, first = self.uses[name], self.first_step(name)
        each = [self._read(m, None if first is None else first + m.use.number) for m in own]
        now = each[-1][0]
        if any(before - now for before, _ in each) or len({m.signal.image for m in own}) > 1:
            raise WorkloadError(
                f"module {name!r}: it is used {len(own)} times in one pass and does not read the "
                "same layers each time: every layer needs weights of its own"
            )
        return now, set().union(*(late for _, late in each))

    def _read(self, m: Multiplication, step: int | None) -> tuple[set[str], set[str]]:
        now, late = set(), set()
        for use in m.signal.reads:
            first = self.first_step(use.layer) if step is not None else None
            delayed = first is not None and step is not None and first + use.number < step
            (late if m.late or delayed else now).add(use.layer)
        return now, late

    def once(self, name: str) -> bool:
        """True for a layer outside of the time steps that the module runs."""
        (use, *more) = self.uses[name]
        in_steps = any(len(own) > 1 or own[0].folded for own in self.uses.values())
        return self.time_steps > 1 and in_steps and not more and not use.folded

    def rates(self, name: str) -> float | tuple[float, ...]:
        """Spike rates of a layer: one, or one for each time step that the module runs."""
        own = self.uses[name]
        if len(own) == 1 and self.first_step(name) is None:
            return own[0].rate
        return (*[0.0] * (self.time_steps - len(own)), *(m.rate for m in own))


def _ordered(sources: Mapping[str, set[str]]) -> list[str]:
    """Names, each after its sources, otherwise in the given order."""
    ordered: dict[str, None] = {}
    pending = list(reversed(sources))
    while pending:
        name = pending[-1]
        missing = [x for x in sources if x in sources[name] and x not in ordered]
        if name in ordered or not missing:
            ordered[pending.pop()] = None
        else:
            pending += reversed(missing)
    return list(ordered)


@dataclass(frozen=True)
class _SharedPooling:
    """The poolings of a layer that all its readers share."""

    chain: Chain
    channels: int  # of the layer
    out_size: Pair  # of its own map

    @property
    def window(self) -> Pair:
        """Sides of the window of all poolings as one."""
        return tuple(math.prod(p.window[i] for p in self.chain) for i in (0, 1))  # type: ignore

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


def _shared_poolings(run: Pass) -> dict[str, _SharedPooling]:
    chains: dict[str, list[Chain]] = {m.use.layer: [] for m in run.multiplications}
    for signal in (*(m.signal for m in run.multiplications), *run.outputs):
        for use, chain in signal.reads.items():
            chains[use.layer].append(chain)
    shapes = {m.use.layer: m.shape for m in run.multiplications}
    return {
        name: _SharedPooling(
            common(own) if own else (),
            shapes[name]["out_channels"],
            shapes[name].get("out_size", (1, 1)),
        )
        for name, own in chains.items()
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
    charged = frozenset(Addition(operation, 0) for operation in run.unpriced)
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
