"""Records the operations of one forward pass of a torch module.

For every tensor that depends on the example it is recorded which layers it depends on, so branches
and skips are noticed whatever code makes them.
"""

from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from hw_models import WorkloadError
from nas_service.importers.torch_layers import IMAGE, Pass
from nas_service.importers.torch_matrices import MATRICES, product_of
from nas_service.importers.torch_operations import FIRES, SUMS, Operation, output
from nas_service.importers.torch_scopes import Scope, Scopes, tensors_of
from nas_service.importers.torch_signals import Addition, Signal, Values, merged
from nas_service.importers.torch_uses import Uses
from nas_service.importers.torch_weights import Weights
from nas_service.snn.neurons.scan import forced

SHAPE_ALONE = ("empty", "zeros", "ones", "full", "rand", "randn")  # with _like, or after new_


class Unfit(WorkloadError):
    """A module does not take an example."""


class Recorder(TorchDispatchMode):
    """Records every operation of one forward pass.

    Args:
        module: In evaluation mode.
        samples: Images in the batch.
        time_steps: Time steps of an inference; a tensor holds one of them or all.
        weight_bits: Bits of all weights.
    """

    def __init__(self, module: nn.Module, samples: int, time_steps: int, weight_bits: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.module, self.samples, self.time_steps = module, samples, time_steps
        self.weights = Weights(module)
        self.uses = Uses(self.weights, weight_bits, (samples, samples * time_steps))
        self.scopes = Scopes(module, self._close)
        self.neurons: dict[tuple[str, str], int] = {}  # by module and by the layer before
        self.unpriced: set[int] = set()
        self._signals: Any = WeakIdKeyDictionary()
        self._written: dict[int, tuple[Any, Signal]] = {}  # storages that were changed in place
        self._operations = 0

    def record(self, example: Tensor, values: Values) -> Pass:
        """Runs the module.

        Args:
            example: Inputs [B, ...].
            values: Values of the inputs.

        Raises:
            WorkloadError: The example does not pass, or a part has no counterpart on a chip.
        """
        inputs = example.detach().clone()
        self._signals[inputs] = Signal({}, image=True, values=values)
        with self.scopes.followed():
            self.module.eval()
            outputs = self._run(inputs)
        if not self.uses.all:
            raise WorkloadError("module: no layer with weights")
        self.weights.demand_all()
        return Pass(
            self.uses.all,
            [s for x in outputs if (s := self._signal(x)) is not None],
            _summed((name, n) for (_, name), n in self.neurons.items()),
            _summed((self._owner(s), n) for n, s in self.weights.vectors()),
            frozenset(self.unpriced),
        )

    def _run(self, inputs: Tensor) -> list[Tensor]:
        try:
            with forced("python"), self:  # torch does not dispatch what runs in C++
                return tensors_of(self.module(inputs))
        except RuntimeError as error:
            shape = tuple(inputs.shape)
            raise Unfit(f"module: an example {shape} does not pass ({error})") from error

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        name = name if name.startswith("__") else name.rstrip("_")
        given = tensors_of([*args, *(v for k, v in kwargs.items() if k != "out")])
        if name == "copy":
            given = given[1:]  # not what the target was before
        signal = None if _is_shape_alone(name) else self._read(name, args, given, out)
        if signal is None:
            self.weights.compute(tensors_of(out), given)
        else:
            self._keep(signal, tensors_of(out), func._schema.is_mutable)
        return out

    def _read(self, name: str, args: Any, given: list[Tensor], out: Any) -> Signal | None:
        """The signal that an operation gives; None where it reads none."""
        self._operations += 1
        inputs = [(x, s) for x in given if (s := self._signal(x)) is not None]
        if name in MATRICES and (inputs or self.scopes.current.is_recurrent):
            return self._multiplied(name, args, out)
        outputs = tensors_of(out)
        if not inputs or not outputs:
            return None
        op = Operation(
            name, args, outputs[0], inputs, self._operations, self._rows, self.uses.map_of
        )
        signal = output(op)
        self.weights.touch([x for x in given if self._signal(x) is None], signal)
        self._note(op, signal)
        return signal

    def _multiplied(self, name: str, args: Any, out: Tensor) -> Signal:
        product = product_of(name, args, self._signal, self._cannot)
        signal = self._signal(product.x) or Signal({})
        return self.uses.multiply(product, out, signal, self.scopes.current, self._cannot)

    def _note(self, op: Operation, signal: Signal) -> None:
        """Keeps what an operation means for the part that is running."""
        scope = self.scopes.current
        if op.name in FIRES:
            scope.spikes = True
            self._count_neurons(scope, signal, op.out)
        elif op.name in SUMS and len(op.inputs) > 1:
            scope.sums.append((op.number, len({s.layers for s in op.signals}) == 1))
        elif op.name == "constant_pad_nd":
            self.uses.pad(op.args, op.out)

    def _count_neurons(self, scope: Scope, signal: Signal, spikes: Tensor) -> None:
        """Neurons belong to the layer before them; where branches meet, to the last one."""
        key = scope.name, self._owner(signal)
        size = spikes.numel() // self._rows(spikes)
        self.neurons[key] = max(size, self.neurons.get(key, 0))

    def _owner(self, signal: Signal) -> str:
        names = [name for name in self.uses.names if name in signal.layers]
        return names[-1] if names else IMAGE

    def _close(self, scope: Scope, out: Any) -> None:
        """Ends the call of a part."""
        tensors = tensors_of(out)
        if scope.is_recurrent and len(scope.positions) == 2 and tensors:
            size = tensors[0].numel() // self._rows(tensors[0])
            added = Addition(self._operations, size)
            signal = self.uses.close_cell(scope.positions, tensors[0], added)
            self._keep(signal, tensors, False)
            self._count_neurons(scope, signal, tensors[0])
            scope.sums = [(number, True) for number, _ in scope.sums]
        elif scope.is_neuron and tensors and (signal := self._signal(tensors[0])):
            if (scope.name, self._owner(signal)) not in self.neurons and not scope.spikes:
                self._count_neurons(scope, signal, tensors[0])
        self.unpriced |= scope.neuron_updates()

    def _keep(self, signal: Signal, outputs: list[Tensor], in_place: bool) -> None:
        for x in outputs:
            self._signals[x] = signal
            if in_place:
                storage = x.untyped_storage()
                _, before = self._written.get(storage.data_ptr(), (None, signal))
                self._written[storage.data_ptr()] = storage, merged([before, signal])

    def _signal(self, x: Tensor) -> Signal | None:
        signal: Signal | None = self._signals.get(x)
        if signal is None and self._written:
            _, signal = self._written.get(x.untyped_storage().data_ptr(), (None, None))
        return signal

    def _rows(self, x: Tensor) -> int:
        """Samples of a tensor, times its time steps."""
        every, sides = self.samples * self.time_steps, tuple(x.shape)
        all_steps = sides[:1] == (every,) or sides[:2] == (self.time_steps, self.samples)
        return every if all_steps else self.samples

    def _cannot(self, reason: str) -> WorkloadError:
        return WorkloadError(f"module {self.scopes.current.name!r}: {reason}")


def _is_shape_alone(name: str) -> bool:
    """True for a new tensor that takes no values from its arguments."""
    base = name.removeprefix("new_").removesuffix("_like")
    return base in SHAPE_ALONE


def _summed(parts: Any) -> dict[str, int]:
    totals: dict[str, int] = {}
    for name, n in parts:
        totals[name] = totals.get(name, 0) + n
    return totals
