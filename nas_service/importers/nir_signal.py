"""What a node of a NIR graph puts out: the layers it comes from, and how many bits it has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from nas_service.importers.nir_values import Pair, wrong

ANALOG_BITS = 8  # of values that are neither spikes nor sums of spikes
Adds = frozenset[tuple[str, int]]  # additions per sample, by the node that makes them
NO_ADDS: Adds = frozenset()


@dataclass(frozen=True)
class Pooling:
    """A pooling of the map of one layer."""

    name: str
    window: Pair
    size: Pair  # of the map after it
    adds: int  # additions per sample
    of_spikes: bool = False  # or of their sums; else of currents


@dataclass(frozen=True)
class Reading:
    """A layer that a signal comes from, and the poolings that follow this layer directly."""

    layer: str
    poolings: tuple[Pooling, ...] = ()
    late: bool = False  # the output of the time step before


@dataclass(frozen=True)
class Values:
    """What a sum or mean of spikes can be: 0 .. largest / unit, in steps of 1 / unit."""

    largest: int
    unit: int = 1
    scales: frozenset[str] = frozenset()  # the nodes or operations that scaled it
    of_image: bool = False  # some of it is what the network itself reads

    @property
    def bits(self) -> int:
        """Bits of a value."""
        return self.largest.bit_length()

    def pooled(self, taps: int, mean: bool) -> "Values":
        """The sum or the mean of a window."""
        return replace(self, largest=self.largest * taps, unit=self.unit * (taps if mean else 1))


SPIKES = Values(1)


@dataclass(frozen=True)
class Signal:
    """The output of a node."""

    readings: frozenset[Reading]
    shape: tuple[int, ...]  # (C, H, W), (C, L) or (N,)
    values: Values | None  # None for values that are no sums of spikes
    adds: Adds = NO_ADDS  # additions other than the poolings in `readings`
    from_image: bool = False  # some of it comes from what the graph itself reads

    @property
    def size(self) -> int:
        """Values per sample."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        """True for what the graph itself reads."""
        return self.from_image and not self.readings and not self.adds

    def one_step_late(self) -> "Signal":
        """The same signal, of the time step before."""
        return replace(self, readings=frozenset(replace(x, late=True) for x in self.readings))

    def pooled(self, name: str, window: Pair, size: Pair, mean: bool) -> "Signal":
        """The signal after a pooling, which is its layer's where it comes from one layer only.

        Args:
            name: The node.
            window: Sides of the window.
            size: Sides of the pooled map.
            mean: The pooling gives means, not sums.

        Returns:
            The pooled signal.
        """
        taps, shape = math.prod(window), (self.shape[0], *size)
        adds = (taps - 1) * math.prod(shape)
        pooled = replace(self, shape=shape, values=self.values and self.values.pooled(taps, mean))
        only = next(iter(self.readings)) if len(self.readings) == 1 else None
        if only is None or only.late or self.from_image:
            return replace(pooled, adds=self.adds | {(name, adds)})
        poolings = (*only.poolings, Pooling(name, window, size, adds, self.values is not None))
        return replace(pooled, readings=frozenset([replace(only, poolings=poolings)]))


class Pools(Protocol):
    """A pooling as NIR graphs and traced modules know it."""

    @property
    def window(self) -> Pair:
        """Sides of the window."""

    @property
    def size(self) -> Pair:
        """Sides of the map after it."""

    @property
    def of_spikes(self) -> bool:
        """True for a pooling of spikes or of their sums, False for one of currents."""


def before_head(poolings: Sequence[Pools], map_size: Pair) -> int:
    """How many of the poolings after a layer stay its own where one linear layer alone reads it.

    A head pools spikes. A trace charges this to the head, whether it pools the map of one layer or
    the sum of several; in SpikeSim's script, where pooled layers are costed at their pooled size,
    it makes a difference.

    Args:
        poolings: They follow the layer one after the other.
        map_size: Sides of the layer's map.

    Returns:
        The number before the first pooling of spikes; all where a later one is not of squares of
        pixels side by side that make a smaller square.
    """
    first = next((i for i, x in enumerate(poolings) if x.of_spikes), len(poolings))
    size = poolings[first - 1].size if first else map_size
    for pooling in poolings[first:]:
        sides = {(n // k, m) for n, k, m in zip(size, pooling.window, pooling.size, strict=True)}
        if len(sides) > 1 or len(set(pooling.window)) > 1 or any(a != b for a, b in sides):
            return len(poolings)
        size = pooling.size
    return first


def joined(name: str, signals: Sequence[Signal]) -> Signal:
    """The sum of the signals that a node reads.

    Args:
        name: The node.
        signals: At least one.

    Returns:
        The sum, with the additions where they meet.

    Raises:
        WorkloadError: Their shapes differ.
    """
    first = signals[0]
    if len(signals) == 1:
        return first
    if len(shapes := {s.shape for s in signals}) > 1:
        raise wrong(name, f"it adds maps of different shapes {sorted(shapes)}")
    sums = (name, (len(signals) - 1) * first.size)
    return Signal(
        readings=frozenset().union(*(s.readings for s in signals)),
        shape=first.shape,
        values=_sum([s.values for s in signals]),
        adds=frozenset([sums]).union(*(s.adds for s in signals)),
        from_image=any(s.from_image for s in signals),
    )


def _sum(parts: Sequence[Values | None]) -> Values | None:
    """The values of a sum; None where the steps of its parts have no common unit."""
    known = [v for v in parts if v is not None]
    if len(known) < len(parts) or len({v.scales for v in known}) > 1:
        return None
    unit = math.lcm(*(v.unit for v in known))
    largest = sum(v.largest * (unit // v.unit) for v in known)
    return Values(largest, unit, known[0].scales, any(v.of_image for v in known))
