"""Records the operations of one forward pass of a torch module.

For every tensor that depends on the example it is recorded which layers it depends on, so branches
and skips are noticed whatever code makes them.
"""

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from hw_models import WorkloadError
from nas_service.importers.nir_signal import Values
from nas_service.importers.torch_additions import Additions
from nas_service.importers.torch_layers import IMAGE, Pass
from nas_service.importers.torch_matrices import MATRICES, product_of
from nas_service.importers.torch_neurons import COMPARES, Neurons, Update
from nas_service.importers.torch_operations import FIRES, SUMS, Operation, output
from nas_service.importers.torch_quantizers import bits_of
from nas_service.importers.torch_refused import RefusedFunctions
from nas_service.importers.torch_scopes import Scope, Scopes, tensors_of
from nas_service.importers.torch_signals import Addition, Signal, merged
from nas_service.importers.torch_uses import Uses
from nas_service.importers.torch_weights import Weights
from nas_service.snn.neurons.scan import forced

SHAPE_ALONE = ("empty", "zeros", "ones", "full", "rand", "randn")  # with _like, or after new_
LONGEST_REASON = 160  # characters of what a module raised
PACKED = ("quantized", "onednn", "mkldnn")  # operations that read weights in forms of their own


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
        self.neurons = Neurons()
        self.unpriced: set[Addition] = set()  # updates of neurons
        self.currents: set[Addition] = set()  # where those meet that neurons read
        self._sums: defaultdict[str, set[Addition]] = defaultdict(set)  # of one layer, by part
        self._meetings: defaultdict[str, dict[Addition, None]] = defaultdict(dict)  # of several
        self._signals: Any = WeakIdKeyDictionary()
        self._written: dict[int, tuple[Any, Signal]] = {}  # storages that were changed in place
        self.additions = Additions()
        self._operations = 0

    def record(self, example: Tensor, values: Values) -> Pass:
        """Runs the module.

        Args:
            example: Inputs [B, ...].
            values: Values of the inputs.

        Returns:
            The uses of weights, and what the module puts out.

        Raises:
            WorkloadError: The example does not pass, or a part has no counterpart on a chip.
        """
        inputs = example.detach().clone()
        self._signals[inputs] = Signal({}, image=True, values=values)
        with self.scopes.followed():
            self.module.eval()
            outputs = self._run(inputs)
        self.weights.demand_all()
        if not self.uses.all:
            raise WorkloadError("module: no layer with weights")
        return Pass(
            self.uses.all,
            [s for x in outputs if (s := self._signal(x)) is not None],
            self.neurons.by_layer(),
            self._vectors_of_layers(),
            frozenset(self.unpriced).union(self.additions.outdated(self.unpriced | self.currents)),
        )

    def _run(self, inputs: Tensor) -> list[Tensor]:
        try:
            # torch does not dispatch what runs in C++
            with forced("python"), RefusedFunctions(self._cannot), self:
                result = self.module(inputs)
        except WorkloadError:
            raise
        except Exception as error:  # whatever the code of a module raises
            raise Unfit(f"{self.scopes.origin(error)}: {self._refusal(inputs, error)}") from error
        return tensors_of(result[0] if isinstance(result, tuple) else result)  # then come states

    def _refusal(self, inputs: Tensor, error: Exception) -> str:
        """Why an example does not pass, in one line; torch's own reasons have up to fifty."""
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        shown = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}..."
        kinds = {x.dtype for x in self.module.parameters() if x.is_floating_point()}
        other = len(kinds) == 1 and inputs.dtype not in kinds
        hint = f": an example of {next(iter(kinds))} is needed, not {inputs.dtype}" if other else ""
        return f"an example {tuple(inputs.shape)} does not pass ({shown}){hint}"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        name = name if name.startswith("__") else name.rstrip("_")
        given = tensors_of([*args, *(v for k, v in kwargs.items() if k != "out")])
        if name == "copy":
            given = given[1:]  # not what the target was before
        signal = None if _is_shape_alone(name) else self._read(func, name, args, given, out)
        if signal is None:
            self.weights.compute(name, tensors_of(out), given)
        else:
            self._keep(signal, tensors_of(out), func._schema.is_mutable)
        return out

    def _read(
        self, func: Any, name: str, args: Any, given: list[Tensor], out: Any
    ) -> Signal | None:
        """The signal that an operation gives; None where it reads none."""
        self._operations += 1
        signals = [(x, self._signal(x)) for x in given]
        inputs = [(x, s) for x, s in signals if s is not None]
        if name in MATRICES and (inputs or self.scopes.current.is_recurrent):
            return self._multiplied(name, args, out)
        outputs = tensors_of(out)
        if not inputs or not outputs or not outputs[0].dim():  # one number is a statistic
            return None
        if func.namespace in PACKED:
            hidden = f"the weights of {func.namespace}::{name} cannot be read"
            raise self._cannot(f"{hidden}: the module before its conversion is needed")
        self.neurons.use(name, args, [x for x, _ in inputs])
        op = Operation(
            *(name, args, outputs[0], inputs, self._operations, self.scopes.current.name),
            *(self.scopes.step[1], self.additions, self._rows, self.uses.map_of),
        )
        signal = output(op)
        self.weights.touch((x for x, s in signals if s is None), signal)
        self._note(op, signal)
        return signal

    def _multiplied(self, name: str, args: Any, out: Tensor) -> Signal:
        product = product_of(name, args, self._signal, self._cannot)
        signal = self._signal(product.x) or Signal({})
        return self.uses.multiply(product, out, signal, self.scopes, self._cannot)

    def _note(self, op: Operation, signal: Signal) -> None:
        """Keeps what an operation means for the part that is running."""
        scope = self.scopes.current
        if op.name in FIRES:
            scope.spikes = True
            self._note_updates(scope, merged(op.signals), op.size(op.out))
            if op.name in COMPARES and not scope.is_recurrent:
                update = self._update(scope, signal, op.out)
                self.neurons.compare(update, [x for x, _ in op.inputs], op.out)
            elif not scope.is_recurrent:
                self.neurons.add(self._update(scope, signal, op.out))
        elif op.name in SUMS:
            scope.adds |= len(op.inputs) > 1
            new = signal.adds - merged(op.signals).adds
            if len({s.layers for s in op.signals}) == 1:
                self._sums[scope.name] |= new
            else:
                self._meetings[scope.name] |= dict.fromkeys(new)
        elif op.name == "constant_pad_nd":
            self.uses.pad(op.args, op.out)

    def _note_updates(self, scope: Scope, compared: Signal, size: int) -> None:
        """Sums of a part that reach a threshold are updates of its neurons.

        The currents of n layers meet in n - 1 sums, and in one more where the image is added;
        where the potential of the time step before is added too, the other sums are updates.
        """
        self.unpriced |= self._sums[scope.name] & compared.adds
        if _holds_state(compared):
            sums = self._meetings[scope.name]
            charged = compared.adds - self.unpriced
            own = [x for x in sums if x in charged and x.count == size]
            count = len(compared.layers) + compared.image - 1
            self.currents |= set(own[:count])
            self.unpriced |= set(own[count:])

    def _update(self, scope: Scope, signal: Signal, spikes: Tensor) -> Update:
        """Neurons belong to the layer before them; where branches meet, to the last one."""
        part, step = self.scopes.step
        size = spikes.numel() // self._rows(spikes)
        return Update((scope.name, part), step, self._owner(signal), size)

    def _vectors_of_layers(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for size, signal in self.weights.vectors():
            counts[self._owner(signal)] += size
        return counts

    def _owner(self, signal: Signal) -> str:
        names = [name for name in self.uses.names if name in signal.layers]
        return names[-1] if names else IMAGE

    def _close(self, scope: Scope, out: Any) -> None:
        """Ends the call of a part."""
        outputs = tensors_of(out)
        if scope.is_recurrent and len(scope.positions) == 2 and outputs:
            self._close_cell(scope, outputs)
        elif scope.is_neuron:
            self._close_neurons(scope, outputs)
        if not scope.holds_matrix and (bits := bits_of(scope.part, out)) is not None:
            self._close_quantizer(scope, outputs, bits)

    def _close_cell(self, scope: Scope, outputs: list[Tensor]) -> None:
        spikes = outputs[0]
        added = Addition(scope.name, spikes.numel() // self._rows(spikes))
        signal = self.uses.close_cell(scope.positions, spikes, added)
        self._keep(signal, outputs, False)
        self.neurons.add(self._update(scope, signal, spikes))

    def _close_neurons(self, scope: Scope, outputs: list[Tensor]) -> None:
        """Neurons read what their first argument reads; what they keep from before is no branch."""
        first = scope.first
        current = None if first is None else self._signal(first)
        if first is not None and current is not None and not scope.adds:
            current = self._read_by_threshold(first, current)
        for x in outputs:
            if current is not None and (signal := self._signal(x)) is not None:
                self._signals[x] = replace(current, values=signal.values, unknown=signal.unknown)
                if x is outputs[0] and not scope.spikes:  # their output is their potential
                    self.neurons.add(self._update(scope, signal, x))

    def _close_quantizer(self, scope: Scope, outputs: list[Tensor], bits: int) -> None:
        """Activations are whole steps of the quantizer; spikes and their sums may need less."""
        for x in outputs:
            signal = self._signal(x)
            if signal is not None and (signal.values is None or signal.values.bits > bits):
                steps = Values(2**bits - 1, scales=frozenset([scope.name]))
                self._signals[x] = replace(signal, values=steps)

    def _read_by_threshold(self, x: Tensor, signal: Signal) -> Signal:
        """What neurons read whose potential x their caller keeps: the inputs of this time step."""
        if self._holds_all_steps(x):
            return signal
        if _holds_state(signal):
            self._note_updates(self.scopes.current, signal, x.numel() // self._rows(x))
        return signal.now()

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
        if self._holds_all_steps(x):
            return self.samples * self.time_steps
        return 1 if x.shape[:1] == (1,) else self.samples

    def _holds_all_steps(self, x: Tensor | None) -> bool:
        """True for a tensor of all time steps, folded into the batch or in front of it."""
        sides = () if x is None else tuple(x.shape)
        every = self.samples * self.time_steps
        return sides[:1] == (every,) or sides[:2] == (self.time_steps, self.samples)

    def _cannot(self, reason: str) -> WorkloadError:
        return WorkloadError(f"module {self.scopes.current.name!r}: {reason}")


def _holds_state(signal: Signal) -> bool:
    """True where a signal also depends on earlier time steps."""
    return len(signal.now().reads) < len(signal.reads)


def _is_shape_alone(name: str) -> bool:
    """True for a new tensor that takes no values from its arguments."""
    base = name.removeprefix("new_").removesuffix("_like")
    return base in SHAPE_ALONE
