"""The neurons of a module: where values are compared with a threshold."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from nas_service.importers.torch_operations import CHOICES

COMPARES = ("gt", "ge", "lt", "le")


@dataclass(frozen=True)
class Update:
    """An update of neurons in one time step."""

    part: Hashable  # the parts of the module that are running
    step: Hashable
    layer: str  # whose neurons they are
    count: int


@dataclass
class Neurons:
    """The neurons of a forward pass.

    A comparison whose result only chooses between the compared values and others limits them, as
    quantizers do; it is no update of neurons.
    """

    _layers: dict[Hashable, tuple[Hashable, dict[str, int]]] = field(default_factory=dict)
    _undecided: Any = field(default_factory=WeakIdKeyDictionary)  # results of comparisons
    _unused: dict[Update, None] = field(default_factory=dict)

    def add(self, update: Update) -> None:
        """Counts the neurons of an update; of each part those of the last time step count."""
        before, own = self._layers.get(update.part, (None, {}))
        own = {} if update.step != before else own  # in the first time step no branch leads back
        self._layers[update.part] = update.step, {**own, update.layer: update.count}

    def compare(self, update: Update, compared: Sequence[Tensor], result: Tensor) -> None:
        """Keeps a comparison, which is an update unless it limits the compared values."""
        self._undecided[result] = update, compared
        self._unused[update] = None

    def use(self, name: str, args: Sequence[Any], inputs: Sequence[Tensor]) -> None:
        """Decides about the comparisons whose results an operation reads.

        Args:
            name: The operation.
            args: Its arguments.
            inputs: Those of them that depend on the example.
        """
        for x in inputs:
            if (known := self._undecided.get(x)) is None:
                continue
            update, compared = known
            self._unused.pop(update, None)
            if not _limits(name, args, x, compared):
                del self._undecided[x]
                self.add(update)

    def by_layer(self) -> dict[str, int]:
        """How many neurons each layer has, after the pass."""
        for update in self._unused:  # results that the module puts out
            self.add(update)
        counts: Counter[str] = Counter()
        for _, own in self._layers.values():
            counts.update(own)
        return counts


def _limits(name: str, args: Sequence[Any], mask: Tensor, compared: Sequence[Tensor]) -> bool:
    """True for a choice by this mask between the compared values and others."""
    if name not in CHOICES:
        return False
    chosen, *values = args if name == "where" else (args[1], args[0])
    return chosen is mask and any(value is x for value in values for x in compared)
