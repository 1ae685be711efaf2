"""Which part of a module is running."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from norse.torch.module.snn import SNN, SNNCell, SNNRecurrent, SNNRecurrentCell
from torch import Tensor, nn

RECURRENT = (SNNRecurrent, SNNRecurrentCell)


@dataclass
class Scope:
    """A call of a part of the module."""

    name: str
    part: nn.Module
    spikes: bool = False  # values were compared with a threshold
    sums: list[tuple[int, bool]] = field(default_factory=list)  # (operation, of the same layers)
    positions: dict[str, int] = field(default_factory=dict)  # of the uses of recurrent weights

    @property
    def is_recurrent(self) -> bool:
        """True for one of Norse's recurrent cells."""
        return isinstance(self.part, RECURRENT)

    @property
    def is_neuron(self) -> bool:
        """True where neurons are updated."""
        return self.spikes or isinstance(self.part, SNN | SNNCell)

    @property
    def holds_matrix(self) -> bool:
        """True where the part, or a part of it, has weights."""
        return any(p.dim() >= 2 for p in self.part.parameters())

    def neuron_updates(self) -> set[int]:
        """The operations whose sums are those of neurons, not of branches that meet.

        Functions without weights that compare with a threshold are neurons. Where there are
        weights beside the neurons, sums of values of the same layers are.
        """
        if not self.is_neuron:
            return set()
        return {operation for operation, same in self.sums if same or not self.holds_matrix}


class Scopes:
    """The calls that are running, innermost last.

    Args:
        module: The whole module.
        close: Called at the end of each call, with its output.
    """

    def __init__(self, module: nn.Module, close: Callable[[Scope, Any], None]) -> None:
        self.module, self.close = module, close
        self.calls = [Scope("module", module)]

    @property
    def current(self) -> Scope:
        """The innermost call."""
        return self.calls[-1]

    @contextmanager
    def followed(self) -> Iterator[None]:
        """A context in which calls are noticed; the module is as before afterwards."""
        with unchanged(self.module):
            for name, part in self.module.named_modules():
                self._follow(name or "module", part)
            yield

    def _follow(self, name: str, part: nn.Module) -> None:
        def enter(*_: Any) -> None:
            self.calls.append(Scope(name, part))

        def leave(_: nn.Module, __: Any, out: Any) -> None:
            self._leave(out)

        part.register_forward_pre_hook(enter)
        part.register_forward_hook(leave, always_call=True)
        if isinstance(part, SNN | SNNCell):  # some call the step of their neurons directly
            part.activation = self._step(name, part, part.activation)

    def _step(self, name: str, part: nn.Module, step: Callable[..., Any]) -> Callable[..., Any]:
        def followed_step(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(Scope(name, part))
            out = None
            try:
                out = step(*args, **kwargs)
            finally:
                self._leave(out)
            return out

        return followed_step

    def _leave(self, out: Any) -> None:
        scope = self.calls.pop()
        self.close(scope, out)
        parent = self.current
        if scope.is_neuron and not scope.holds_matrix and not parent.holds_matrix:
            parent.spikes = True


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """A context after which attributes, modes and buffers of a module are as before."""
    parts = [(part.__dict__, _copied(part.__dict__)) for part in module.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for now, before in parts:
            _restore(now, before)
        for buffer, before in buffers:
            buffer.detach().copy_(before)


def _copied(attributes: dict[str, Any]) -> dict[str, Any]:
    return {k: v.copy() if isinstance(v, dict) else v for k, v in attributes.items()}


def _restore(attributes: dict[str, Any], before: dict[str, Any]) -> None:
    for name in attributes.keys() - before.keys():
        del attributes[name]
    for name, value in before.items():
        if isinstance(value, dict) and isinstance(attributes.get(name), dict):
            attributes[name].clear()
            attributes[name].update(value)
        else:
            attributes[name] = value


def tensors_of(values: Any) -> list[Tensor]:
    """Tensors among values, lists of them included."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        return tensors_of(list(values.values()))
    if not isinstance(values, list | tuple):
        return []
    return [x for value in values for x in tensors_of(value)]
