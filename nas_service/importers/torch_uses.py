"""The multiplications of a forward pass with the weights of its layers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from norse.torch.module.snn import SNNRecurrent
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from nas_service.importers.nir_signal import SPIKES
from nas_service.importers.torch_matrices import Cannot, Product, shape_of
from nas_service.importers.torch_scopes import Scope, Scopes
from nas_service.importers.torch_signals import Addition, Chain, Signal, Use
from nas_service.importers.torch_timing import Multiplication
from nas_service.importers.torch_weights import Weights

MAX_BITS = 32
CELL_WEIGHTS = ("input_weights", "recurrent_weights")  # of Norse's recurrent cells


class Uses:
    """Every use of a weight matrix.

    Args:
        weights: The parameters of the module.
        weight_bits: Bits of all weights.
        rows: How many samples a batch may have: those of one time step, or of all.
    """

    def __init__(self, weights: Weights, weight_bits: int, rows: tuple[int, int]) -> None:
        self.weights, self.weight_bits, self.rows = weights, weight_bits, rows
        self.all: list[Multiplication] = []
        self._count: Counter[str] = Counter()
        self._maps: dict[str, tuple[int, ...]] = {}
        self._padded: Any = WeakIdKeyDictionary()

    @property
    def names(self) -> list[str]:
        """The layers in the order of their first use."""
        return list(self._count)

    def map_of(self, use: Use, chain: Chain) -> tuple[int, ...]:
        """Shape of the map that a layer's poolings give."""
        channels, *size = self._maps[use.layer]
        return (channels, *(chain[-1].size if chain else size))

    def pad(self, args: Sequence[Any], out: Tensor) -> None:
        """Keeps where zeros are put around a map, as a convolution's own padding does."""
        x, sides, value = args[0], args[1], args[2] if len(args) > 2 else 0
        if value or min(sides) < 0 or len(sides) > 2 * (x.dim() - 2):
            return
        inner, (rows, columns) = self._padded.get(x, (x, (0, 0)))
        more = [max(sides[i : i + 2], default=0) for i in (2, 0)]
        self._padded[out] = inner, (rows + more[0], columns + more[1])

    def multiply(
        self, product: Product, out: Tensor, signal: Signal, scopes: Scopes, cannot: Cannot
    ) -> Signal:
        """Adds a use.

        Args:
            product: What is multiplied.
            out: The output.
            signal: What the inputs depend on.
            scopes: The parts of the module that are running.
            cannot: The error for a reason.

        Returns:
            The signal of the output.

        Raises:
            WorkloadError: No crossbar multiplies these inputs so.
        """
        scope = scopes.current
        if not scope.is_recurrent:
            self._demand_inputs(product, signal, cannot)
            folded = product.vectors != self.rows[0]
            return self._use(scope.name, product, out, signal, folded, scopes)
        weights = _cell_weights(scope, product.weight)
        if weights is None:
            raise cannot("it has other weights than those of its inputs and of its spikes")
        if weights == CELL_WEIGHTS[0] and not (signal.reads or signal.image):
            raise cannot("its input does not depend on the example: an input is needed")
        if weights not in scope.positions:  # else the next time step of the same call
            scope.positions[weights] = len(self.all)
            name = f"{scope.name}.{weights}"
            folded = isinstance(scope.part, SNNRecurrent)
            self._use(name, product, out, signal, folded, scopes)
        return signal

    def _demand_inputs(self, product: Product, signal: Signal, cannot: Cannot) -> None:
        if product.vectors not in self.rows:
            raise cannot(
                f"{product.vectors} vectors for {self.rows[0]} images: one each is supported"
            )
        if signal.bits > MAX_BITS:
            raise cannot(f"it reads sums of {signal.bits} bits: {MAX_BITS} are possible")
        if signal.unknown:
            read = ", ".join(map(repr, sorted(signal.layers))) or "the image"
            raise cannot(f"it reads {read} through {signal.unknown!r}, which no layer computes")

    def _use(
        self,
        part: str,
        product: Product,
        out: Tensor,
        signal: Signal,
        folded: bool,
        scopes: Scopes,
    ) -> Signal:
        name = self.weights.layer(part, product.weight, product.bias)
        scopes.use(name)
        x, zeros = self._padded.get(product.x, (product.x, (0, 0)))
        shape = shape_of(product, x, out, zeros)
        shape |= {"weight_bits": self.weight_bits, "input_bits": signal.bits}
        shape |= {"parameters": product.numbers}
        use = Use(name, self._count[name])
        self._count[name] += 1
        self._maps[name] = (product.outputs, *shape.get("out_size", ()))
        self.all.append(Multiplication(use, shape, signal, _rate(x), folded))
        return Signal({use: ()})

    def close_cell(self, positions: dict[str, int], spikes: Tensor, added: Addition) -> Signal:
        """The spikes of a recurrent cell, which its recurrent weights read one step late.

        Args:
            positions: Of the uses of its weights.
            spikes: Its output.
            added: The additions where its currents meet.

        Returns:
            The signal of the spikes.
        """
        uses = [self.all[i].use for i in positions.values()]
        signal = Signal(dict.fromkeys(uses, ()), values=SPIKES).adding(added)
        position = positions[CELL_WEIGHTS[1]]
        late = self.all[position]
        shape = {**late.shape, "input_bits": signal.bits}
        self.all[position] = replace(
            late, shape=shape, signal=signal, rate=_rate(spikes), late=True
        )
        return signal


def _cell_weights(scope: Scope, weight: Tensor) -> str | None:
    """Which weights of a recurrent cell a tensor is."""
    for name in CELL_WEIGHTS:
        own: Tensor = getattr(scope.part, name)
        if own.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr():
            return name
    return None


def _rate(x: Tensor) -> float:
    """Share of values that are not 0."""
    return float((x != 0).double().mean())
