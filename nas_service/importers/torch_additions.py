"""Which additions of a forward pass are the same in several time steps."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Set
from dataclasses import dataclass, field

from nas_service.importers.torch_signals import Addition


@dataclass
class _Made:
    """One addition, which may be made in several time steps."""

    addition: Addition
    layers: frozenset[str]  # whose outputs it adds
    operations: list[int]  # the numbers of the operations that made it

    def replaces(self, early: "_Made") -> bool:
        """True for an addition in several steps after the last of another of fewer layers."""
        later = self.operations[0] > early.operations[-1]
        return later and len(self.operations) > 1 and early.layers < self.layers


@dataclass
class Additions:
    """Every addition of a forward pass.

    Those of one kind are numbered in each time step, so that an addition has the same site in all.
    """

    _numbers: Counter[Hashable] = field(default_factory=Counter)
    _kinds: defaultdict[Hashable, dict[Hashable, _Made]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def make(
        self,
        kind: Hashable,
        layers: frozenset[str],
        step: Hashable,
        operation: int,
        count: int,
        decodes: bool,
    ) -> Addition:
        """An addition with its site.

        Args:
            kind: What additions have in common that may be the same.
            layers: The layers whose outputs are added.
            step: The time step.
            operation: The number of the operation.
            count: How many additions it makes, per sample and time step.
            decodes: It is a sum over time steps or outputs.

        Returns:
            The addition.
        """
        self._numbers[kind, layers, step] += 1
        site = kind, layers, self._numbers[kind, layers, step]
        made = self._kinds[kind].setdefault(site, _Made(Addition(site, count, decodes), layers, []))
        made.operations.append(operation)
        return made.addition

    def outdated(self, settled: Set[Addition]) -> Iterator[Addition]:
        """Additions of the first time steps alone, where later ones add outputs of more layers.

        What a connection leads back arrives later than the rest.

        Args:
            settled: Additions of which it is known whether they are charged.

        Yields:
            The additions that are not to be charged beside the later ones.
        """
        for kind in self._kinds.values():
            others = [made for made in kind.values() if made.addition not in settled]
            for early in others:
                if any(late.replaces(early) for late in others):
                    yield early.addition
