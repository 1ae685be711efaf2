"""Which part of a module is running."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from norse.torch.module.snn import SNN, SNNCell, SNNRecurrent, SNNRecurrentCell
from torch import Tensor, nn

from nas_service.snn.network import CellNetwork

RECURRENT = (SNNRecurrent, SNNRecurrentCell)


@dataclass
class Scope:
    """A call of a part of the module."""

    name: str
    part: nn.Module
    holds_matrix: bool  # the part, or a part of it, has weights
    call: int = 0  # its number
    first: Tensor | None = None  # its first argument
    spikes: bool = False  # values were compared with a threshold
    adds: bool = False  # signals were added: a state and an input, in neurons
    positions: dict[str, int] = field(default_factory=dict)  # of the uses of recurrent weights
    uses: Counter[str] = field(default_factory=Counter)  # of layers in this call

    @property
    def is_recurrent(self) -> bool:
        """True for one of Norse's recurrent cells."""
        return isinstance(self.part, RECURRENT)

    @property
    def is_neuron(self) -> bool:
        """True where neurons are updated and nothing else is done."""
        return self.updates_neurons and not self.holds_matrix and not self.is_recurrent

    @property
    def updates_neurons(self) -> bool:
        """True where values are compared with a threshold."""
        return self.spikes or isinstance(self.part, SNN | SNNCell)


class Scopes:
    """The calls that are running, innermost last.

    Args:
        module: The whole module.
        close: Called at the end of each call, with its output.
    """

    def __init__(self, module: nn.Module, close: Callable[[Scope, Any], None]) -> None:
        self.module, self.close = module, close
        self._with_matrix = {part for part in module.modules() if _holds_matrix(part)}
        self.calls = [Scope("module", module, module in self._with_matrix)]
        self._number = 0
        self._failure: tuple[BaseException | None, str] = (None, "")  # and the innermost call

    @property
    def current(self) -> Scope:
        """The innermost call."""
        return self.calls[-1]

    @property
    def step(self) -> tuple[str, tuple[int, int]]:
        """The innermost part with weights, its call, and how often this call has used a layer."""
        scope = next((s for s in reversed(self.calls) if s.holds_matrix), self.calls[0])
        return scope.name, (scope.call, max(scope.uses.values(), default=0))

    def use(self, layer: str) -> None:
        """Counts a use of a layer in all calls that are running."""
        for scope in self.calls:
            scope.uses[layer] += 1

    @contextmanager
    def followed(self) -> Iterator[None]:
        """A context in which calls are noticed; the module is as before afterwards."""
        with unchanged(self.module):
            for name, part in self.module.named_modules():
                self._follow(name or "module", part)
            yield

    def _follow(self, name: str, part: nn.Module) -> None:
        def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
            self._enter(name, part, (args, kwargs))

        def leave(_: nn.Module, __: Any, out: Any) -> None:
            self._leave(out)

        part.register_forward_pre_hook(enter, with_kwargs=True)
        part.register_forward_hook(leave, always_call=True)
        if isinstance(part, CellNetwork):
            part.shares_spikes = False
        if isinstance(part, SNN | SNNCell):  # some call the step of their neurons directly
            part.activation = self._step(name, part, part.activation)

    def _step(self, name: str, part: nn.Module, step: Callable[..., Any]) -> Callable[..., Any]:
        def followed_step(*args: Any, **kwargs: Any) -> Any:
            self._enter(name, part, args)
            out = None
            try:
                out = step(*args, **kwargs)
            finally:
                self._leave(out)
            return out

        return followed_step

    def _enter(self, name: str, part: nn.Module, args: Any) -> None:
        self._number += 1
        first = next(iter(tensors_of(args)), None)
        self.calls.append(Scope(name, part, part in self._with_matrix, self._number, first))

    def origin(self, error: BaseException) -> str:
        """Name of the innermost call that an error came from; the whole module if no part is."""
        cause, name = self._failure
        return f"module {name!r}" if cause is error and name != "module" else "module"

    def _leave(self, out: Any) -> None:
        scope, error = self.calls.pop(), sys.exception()
        if error is not self._failure[0]:
            self._failure = error, scope.name
        self.close(scope, out)
        if scope.is_neuron and not self.current.holds_matrix:
            self.current.spikes = True


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """A context after which attributes, modes and buffers of a module are as before."""
    parts = [(part.__dict__, _copied(part.__dict__)) for part in module.modules()]
    for attributes, _ in parts:
        buffers = attributes["_buffers"]
        buffers.update((name, x.clone()) for name, x in buffers.items() if x is not None)
    try:
        yield
    finally:
        for now, before in parts:
            _restore(now, before)


def _holds_matrix(part: nn.Module) -> bool:
    return any(p.dim() >= 2 for p in part.parameters())


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
