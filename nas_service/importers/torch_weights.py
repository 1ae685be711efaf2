"""Which trained numbers of a module a tensor is made of, and the names of the layers."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from hw_models import WorkloadError
from nas_service.importers.torch_matrices import MATRICES
from nas_service.importers.torch_signals import Signal

log = logging.getLogger(__name__)

Made = frozenset[int]  # positions of parameters
NOTHING: Made = frozenset()


class Weights:
    """The parameters of a module during a forward pass.

    Args:
        module: Weights may be computed from its parameters, as quantizers and norms do.
    """

    def __init__(self, module: nn.Module) -> None:
        named = dict(module.named_parameters())
        self.names, self.parameters = list(named), list(named.values())
        self._made_of: Any = WeakIdKeyDictionary()
        for position, parameter in enumerate(self.parameters):
            self._made_of[parameter] = frozenset([position])
        self._layers: dict[tuple[str, Any], str] = {}
        self._in_matrices: set[int] = set()
        self._with_constants: set[int] = set()
        self._elsewhere: dict[int, Signal] = {}

    def made_of(self, tensors: Iterable[Tensor]) -> Made:
        """Positions of the parameters that tensors are computed from."""
        return NOTHING.union(*(self._made_of.get(x, NOTHING) for x in tensors))

    def compute(self, name: str, outputs: Iterable[Tensor], inputs: Sequence[Tensor]) -> None:
        """Keeps that these outputs are computed from these inputs.

        Args:
            name: The operation. A product of weights with constants gives no weights.
            outputs: Its outputs.
            inputs: Its inputs, none of which depends on the example.
        """
        if name in MATRICES and not all(map(self._made_of.get, inputs)):
            self._with_constants |= self.made_of(inputs)
            return
        if made := self.made_of(inputs):
            for x in outputs:
                self._made_of[x] = made

    def layer(self, scope: str, weight: Tensor, bias: Tensor | None) -> str:
        """The name of the layer with this weight matrix, unchanged from use to use.

        Args:
            scope: The module that multiplies it; the layer has its name, a second one in this
                module also that of its weights.
            weight: The matrix.
            bias: Its bias.

        Returns:
            The name.
        """
        made = self.made_of([weight])
        self._in_matrices |= made | self.made_of([] if bias is None else [bias])
        key = scope, made or tuple(weight.shape)
        if key not in self._layers:
            name = scope
            if name in self._layers.values():
                own = [self.names[i].split(".")[-1] for i in sorted(made)]
                name = f"{scope}.{own[0] if own else len(self._layers)}"
            self._layers[key] = name
            self._name_parts(name, [weight] if bias is None else [weight, bias])
        return self._layers[key]

    def _name_parts(self, layer: str, tensors: Sequence[Tensor]) -> None:
        """Logs parameters of which a layer multiplies fewer numbers than they have."""
        for position in sorted(self.made_of(tensors)):
            most = max(x.numel() for x in tensors if position in self.made_of([x]))
            if most < (count := self.parameters[position].numel()):
                log.warning(
                    "layer %r: parameter %r has %d numbers, the layer is costed with the %d that "
                    "it multiplies",
                    *(layer, self.names[position], count, most),
                )

    def touch(self, tensors: Iterable[Tensor], signal: Signal) -> None:
        """Keeps that an operation other than a product with a matrix uses these tensors."""
        for position in self.made_of(tensors):
            self._elsewhere.setdefault(position, signal)

    def vectors(self) -> Iterator[tuple[int, Signal]]:
        """Trained numbers outside of matrices, such as those of a batch norm, and where they act.

        Raises:
            WorkloadError: A matrix that is in no layer.
        """
        for position, signal in self._elsewhere.items():
            if position not in self._in_matrices:
                parameter = self.parameters[position]
                if _is_matrix(parameter):
                    raise WorkloadError(
                        f"module {self._owner(position)!r}: its weights {tuple(parameter.shape)} "
                        "are in no product with a matrix: only those lie on crossbars"
                    )
                yield parameter.numel(), signal

    def demand_all(self) -> None:
        """WorkloadError where a matrix has no part in the outputs."""
        used = self._in_matrices | self._elsewhere.keys()
        idle = [i for i, p in enumerate(self.parameters) if p.dim() >= 2 and i not in used]
        if states := [i for i in idle if i in self._with_constants]:
            raise WorkloadError(
                f"modules {self._owners(states)}: what they read does not depend on the example "
                "(a state of the time step before, or a constant): a module that runs all time "
                "steps of its input, or one of Norse's recurrent cells, is needed"
            )
        if idle:
            raise WorkloadError(
                f"modules {self._owners(idle)}: weights that the example did not reach"
            )

    def _owner(self, position: int) -> str:
        return self.names[position].rpartition(".")[0] or "module"

    def _owners(self, positions: Sequence[int]) -> list[str]:
        return list(dict.fromkeys(self._owner(i) for i in positions))


def _is_matrix(parameter: Tensor) -> bool:
    return sum(side > 1 for side in parameter.shape) > 1
