"""What the tensors of a traced module are: the layers they come from, and what happened since."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from nas_service.importers.nir_signal import ANALOG_BITS, Values
from nas_service.importers.nir_values import Pair


class Use(NamedTuple):
    """One multiplication of a layer in a forward pass."""

    layer: str
    number: int  # from 0: a module that runs all time steps multiplies a layer once in each


@dataclass(frozen=True)
class Addition:
    """Additions that one operation makes, per sample and time step.

    They are equal where the operation is the same, also of another time step.
    """

    site: Hashable
    count: int
    decodes: bool = False  # a sum over time steps or outputs


@dataclass(frozen=True)
class Pooling:
    """A pooling of the whole map of a layer. Two poolings that are equal give equal values."""

    kind: str
    window: Pair
    size: Pair  # of the map after it
    addition: Addition = field(compare=False)
    of_spikes: bool = False  # or of their sums; else of currents


Chain = tuple[Pooling, ...]  # that follow a layer directly


@dataclass(frozen=True)
class Signal:
    """The values of a tensor that depends on the example."""

    reads: Mapping[Use, Chain]  # the layers it is computed from, and their poolings
    image: bool = False  # it also depends on the example without a layer between
    values: Values | None = None  # None for values that are no sums of spikes
    adds: frozenset[Addition] = frozenset()  # except for the poolings in `reads`
    unknown: str = ""  # an operation since the layers whose effect on maps is not known

    @property
    def layers(self) -> frozenset[str]:
        """Names of the layers it is computed from."""
        return frozenset(use.layer for use in self.reads)

    @property
    def step(self) -> int:
        """The time step, in a module that runs one after the other: the most uses of a layer."""
        return max((use.number for use in self.reads), default=0)

    @property
    def bits(self) -> int:
        """Bits of a value."""
        return ANALOG_BITS if self.values is None else self.values.bits

    def now(self) -> "Signal":
        """The signal as the last time step that it depends on gives it."""
        last = {use.layer: (use, self.reads[use]) for use in sorted(self.reads)}
        return replace(self, reads=dict(last.values()))

    def adding(self, addition: Addition) -> "Signal":
        """The same signal after more additions."""
        return replace(self, adds=self.adds | {addition}) if addition.count > 0 else self

    def pooled(self, pooling: Pooling, whole_map: bool) -> "Signal":
        """The signal after a pooling.

        Args:
            pooling: The pooling.
            whole_map: It reads the map of one layer, as the layer and its poolings give it.

        Returns:
            The pooled signal.
        """
        if not whole_map or len(self.reads) != 1 or self.image:
            return self.adding(pooling.addition)
        ((use, chain),) = self.reads.items()
        return replace(self, reads={use: (*chain, pooling)})


def merged(signals: Sequence[Signal]) -> Signal:
    """A signal that holds the values of all the given ones.

    Where they read a layer through different poolings, those that they share remain poolings of
    this layer, the others are additions.

    Args:
        signals: At least one.

    Returns:
        The signal.
    """
    if len(signals) == 1:
        return signals[0]
    chains: dict[Use, list[Chain]] = {}
    for signal in signals:
        for use, chain in signal.reads.items():
            chains.setdefault(use, []).append(chain)
    shared = {use: common(own) for use, own in chains.items()}
    others = [after(chain, shared[use]) for use, own in chains.items() for chain in own]
    return Signal(
        reads=shared,
        image=any(s.image for s in signals),
        values=_spread([s.values for s in signals]),
        adds=frozenset().union(*(s.adds for s in signals), *others),
        unknown=next((s.unknown for s in signals if s.unknown), ""),
    )


def common(chains: Iterable[Chain]) -> Chain:
    """The poolings that all chains begin with."""
    first, *others = chains
    length = 0
    while all(c[length : length + 1] == first[length : length + 1] for c in others):
        if length == len(first):
            break
        length += 1
    return first[:length]


def after(chain: Chain, shared: Chain) -> frozenset[Addition]:
    """The additions of a chain's poolings after those that it shares."""
    return frozenset(pooling.addition for pooling in chain[len(shared) :])


def total(parts: Sequence[Values | None]) -> Values | None:
    """The values of a sum; None where the steps of its parts have no common unit."""
    known = _in_one_unit(parts)
    return replace(known[0], largest=sum(v.largest for v in known)) if known else None


def _spread(parts: Sequence[Values | None]) -> Values | None:
    """The values of tensors side by side."""
    known = _in_one_unit(parts)
    return max(known, key=lambda v: v.largest) if known else None


def _in_one_unit(parts: Sequence[Values | None]) -> list[Values]:
    """The same values in steps of one unit; none where there is no such unit."""
    known = [v for v in parts if v is not None]
    if len(known) < len(parts) or len({v.scales for v in known}) > 1:
        return []
    unit = math.lcm(*(v.unit for v in known))
    return [replace(v, largest=v.largest * (unit // v.unit), unit=unit) for v in known]
