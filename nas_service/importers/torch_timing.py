"""In which time steps the layers of a module are multiplied, and which outputs they then read.

A module may run one time step, all of them folded into the batch, or one after the other. In the
last case a layer is multiplied once in each step, or less often: a connection that leads back does
not transmit in the first step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hw_models import WorkloadError
from nas_service.importers.torch_signals import Signal, Use


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
class Timing:
    """In which time steps the layers of a pass are multiplied."""

    order: Sequence[Multiplication]
    time_steps: int

    @cached_property
    def uses(self) -> dict[str, list[Multiplication]]:
        """The uses of each layer."""
        uses: dict[str, list[Multiplication]] = {}
        for m in self.order:
            uses.setdefault(m.use.layer, []).append(m)
        return uses

    @cached_property
    def layers(self) -> list[str]:
        """The layers, each after those it reads in the same time step."""
        return _ordered({name: now for name, (now, _) in self.reads.items()})

    @cached_property
    def reads(self) -> dict[str, tuple[set[str], set[str]]]:
        """The layers that each layer reads in the same time step, and one step late.

        Raises:
            WorkloadError: A layer does not read the same layers in all of its uses.
        """
        return {name: self._reads(name) for name in self.uses}

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

    def _reads(self, name: str) -> tuple[set[str], set[str]]:
        own = self.uses[name]
        each = [self._read(m) for m in own]
        now = each[-1][0]
        same = all(m.shape == own[0].shape and m.signal.image == own[0].signal.image for m in own)
        if any(before - now for before, _ in each) or not same:
            raise WorkloadError(
                f"module {name!r}: it is used {len(own)} times in one pass and does not read the "
                "same layers each time: every layer needs weights of its own"
            )
        return now, set().union(*(late for _, late in each))

    def _read(self, m: Multiplication) -> tuple[set[str], set[str]]:
        now: set[str] = set()
        late: set[str] = set()
        first = self.first_steps[m.use.layer]
        step = self.time_steps - 1 if first is None else first + m.use.number
        every = first is not None or m.folded
        for use in m.signal.reads if every else map(Use._make, _last_uses(m.signal).items()):
            is_late = m.late or self._arrives(use, first) < step
            (late if is_late else now).add(use.layer)
        return now, late

    def _arrives(self, use: Use, reader: int | None) -> int:
        """The time step in which an output is first read, by a layer that begins in step `reader`.

        The last output of a layer is first read in the last step: a connection that leads back is
        not multiplied there. What is there for all steps comes late to a layer that begins later.
        """
        first = self.first_steps[use.layer]
        if first is None:
            return -1 if reader else self.time_steps - 1
        return first + use.number

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
