"""The layers of a workload from the multiplications of one forward pass.

A module may run one time step, all of them folded into the batch, or one after the other. In the
last case a layer is multiplied once in each step, or once less: a connection that leads back does
not transmit in the first step.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
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
    calls: tuple[int, ...]  # numbers of the calls of parts that were running, outermost first
    late: bool = False  # it reads the time step before


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

    Raises:
        WorkloadError: A layer is used several times, but not once in each time step.
    """
    uses: dict[str, list[Multiplication]] = {}
    for m in run.multiplications:
        uses.setdefault(m.use.layer, []).append(m)
    timing = _Timing(run.multiplications, uses, time_steps)
    reads = {name: timing.reads(name) for name in uses}
    order = _ordered({name: now for name, (now, _) in reads.items()})
    pools = _shared_poolings(run)
    adds = _charged(run, [uses[name][-1] for name in order], pools)
    neurons, vectors = _owned(run.neurons, order), _owned(run.vectors, order)
    layers: dict[str, Layer] = {}
    for name in order:
        now, late = reads[name]
        shape: dict[str, Any] = {**uses[name][-1].shape, **pools[name].keys()}
        shape["parameters"] += vectors[name]
        layer = Layer(
            name=name,
            **shape,
            once=timing.once(name),
            spike_rate=timing.rates(name),
            neurons=neurons[name] if run.neurons else None,
            input_adds=adds[name],
            sources=tuple(x for x in order if x in now),
            feedback=tuple(x for x in order if x in late),
        )
        known = fits(layer, [layers[x] for x in layer.sources or ()])
        layers[name] = layer if known else replace(layer, rearranged=True)
    return tuple(layers.values())


def _owned(counts: Mapping[str, int], order: Sequence[str]) -> dict[str, int]:
    """A count for each layer; those before all layers are the first layer's."""
    owned = {name: counts.get(name, 0) for name in order}
    owned[order[0]] += counts.get(IMAGE, 0)
    return owned


@dataclass(frozen=True)
class _Timing:
    """In which time steps the layers of a pass are multiplied."""

    order: Sequence[Multiplication]
    uses: Mapping[str, Sequence[Multiplication]]
    time_steps: int

    @cached_property
    def loops(self) -> dict[Use, tuple[int, ...]]:
        """The call that holds the loop over time steps of each use."""
        own = {name: _call_of_all(uses) for name, uses in self.uses.items() if len(uses) > 1}
        calls = set(own.values())
        around = {m.use: (m.calls[:n] for n in range(len(m.calls), 0, -1)) for m in self.order}
        inner = {use: next((c for c in outer if c in calls), ()) for use, outer in around.items()}
        return {use: own.get(use.layer, call) for use, call in inner.items()}

    @cached_property
    def steps(self) -> dict[Use, int]:
        """The time step of each use: how often any layer of the same loop has been used."""
        begun: Counter[tuple[int, ...]] = Counter()
        steps: dict[Use, int] = {}
        for use, loop in self.loops.items():
            begun[loop] = max(begun[loop], use.number + 1)
            steps[use] = begun[loop] - 1
        return steps

    @cached_property
    def counted(self) -> set[tuple[int, ...]]:
        """The loops in which a layer is used in every time step."""
        return {loop for use, loop in self.loops.items() if use.number + 1 == self.time_steps}

    @cached_property
    def first_steps(self) -> dict[str, int | None]:
        """The step of each layer's first use; None where one use is for all steps.

        A connection that leads back, and what only it reaches, begins later than the others.
        """
        n = self.time_steps
        in_steps = any(len(own) == n or own[0].folded for own in self.uses.values())
        return {name: self._first_step(name, in_steps) for name in self.uses}

    def _first_step(self, name: str, in_steps: bool) -> int | None:
        uses, n = len(self.uses[name]), self.time_steps
        if in_steps and (1 < uses <= n or self._is_late(name)):
            return n - uses
        if uses == 1:
            return None
        raise WorkloadError(
            f"module {name!r}: it is used {uses} times in one pass: give one time step, or a "
            f"module that uses it in each of the {n} time steps, and every layer weights of its own"
        )

    def _is_late(self, name: str) -> bool:
        """True for a single use that reads another step than the last of a layer."""
        (first, *more) = self.uses[name]
        read = _last_uses(first.signal)
        unread = any(len(self.uses[layer]) > number + 1 for layer, number in read.items())
        return unread and not more and not first.folded

    def reads(self, name: str) -> tuple[set[str], set[str]]:
        """The layers that a layer reads in the same time step, and one step late."""
        own = self.uses[name]
        each = [self._read(m) for m in own]
        now = each[-1][0]
        if any(before - now for before, _ in each) or len({m.signal.image for m in own}) > 1:
            raise WorkloadError(
                f"module {name!r}: it is used {len(own)} times in one pass and does not read the "
                "same layers each time: every layer needs weights of its own"
            )
        return now, set().union(*(late for _, late in each))

    def _read(self, m: Multiplication) -> tuple[set[str], set[str]]:
        now: set[str] = set()
        late: set[str] = set()
        in_steps = self.first_steps[m.use.layer] is not None
        step = self.steps[m.use] if in_steps else self.time_steps - 1
        uses = m.signal.reads if in_steps else map(Use._make, _last_uses(m.signal).items())
        all_late = m.late or self._leads_back(m.use.layer)
        for use in uses:
            known = in_steps or self.loops[use] in self.counted
            delayed = known and self._arrives(use, step) < step
            (late if all_late or delayed else now).add(use.layer)
        return now, late

    def _leads_back(self, name: str) -> bool:
        """True for a layer whose outputs are read in the next step only: it skips the last one."""
        last = self.steps[self.uses[name][-1].use]
        return self.first_steps[name] not in (None, 0) and last + 1 < self.time_steps

    def _arrives(self, use: Use, step: int) -> int:
        """The step in which a layer's output is first read; `step` where it is for all."""
        if self.first_steps[use.layer] is None:
            return step
        return self.steps[use] + self._leads_back(use.layer)

    def once(self, name: str) -> bool:
        """True for a layer outside of the time steps that the module runs."""
        (use, *more) = self.uses[name]
        in_steps = any(len(own) > 1 or own[0].folded for own in self.uses.values())
        return self.time_steps > 1 and in_steps and not more and not use.folded

    def rates(self, name: str) -> float | tuple[float, ...]:
        """Spike rates of a layer: one, or one for each time step that the module runs."""
        own = self.uses[name]
        if len(own) == 1 and self.first_steps[name] is None:
            return own[0].rate
        return (*[0.0] * (self.time_steps - len(own)), *(m.rate for m in own))


def _last_uses(signal: Signal) -> dict[str, int]:
    """The last use of each layer that a signal reads."""
    return {use.layer: use.number for use in sorted(signal.reads)}


def _call_of_all(uses: Sequence[Multiplication]) -> tuple[int, ...]:
    """The innermost call in which all uses of a layer are."""
    columns = zip(*(m.calls for m in uses), strict=False)
    return tuple(c[0] for c in itertools.takewhile(lambda c: len(set(c)) == 1, columns))


def _ordered(sources: Mapping[str, set[str]]) -> list[str]:
    """Names, each after its sources, otherwise in the given order where that is possible."""
    ordered: dict[str, None] = {}
    waiting = list(sources)
    while waiting:
        ready = next((x for x in waiting if sources[x] <= ordered.keys()), None)
        if ready is None:
            names = ", ".join(map(repr, waiting[:3]))
            raise WorkloadError(f"modules {names}: they read each other in the same time step")
        ordered[ready] = None
        waiting.remove(ready)
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
