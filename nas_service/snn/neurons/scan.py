"""All time steps of a layer of neurons as one operation, computed by one of several backends.

T time steps, B batch. Currents are folded, [T*B, ...], or constant: [B, ...], the same at each
step. The membrane potential is fp32 or wider in every backend; spikes have the type and layout of
the currents.
"""

import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nas_service.errors import SpecError, pick
from nas_service.snn.neurons import native
from nas_service.snn.neurons.neuron import SURROGATES, Neuron

log = logging.getLogger(__name__)

Forward = Callable[[Tensor, Neuron, int, bool], tuple[Tensor, Tensor]]
Backward = Callable[[Tensor, Tensor, Neuron, int, bool], Tensor]


@dataclass(frozen=True)
class Backend:
    """One implementation of the neurons."""

    name: str
    runs: Callable[[Tensor], bool]  # True for tensors that it can compute
    forward: Forward  # currents to spikes [T*B, ...], and a tensor that `backward` needs
    backward: Backward  # that tensor and the gradient of the spikes to that of the currents


def _fires(u: Tensor, neuron: Neuron) -> Tensor:
    return u >= neuron.threshold if neuron.fires_at_threshold else u > neuron.threshold


def _reset(u: Tensor, neuron: Neuron) -> Tensor:
    fires = _fires(u, neuron)
    if neuron.reset == "zero":
        return u.masked_fill(fires, 0)
    return u - fires.to(u.dtype).mul_(neuron.threshold)


def python_forward(
    current: Tensor, neuron: Neuron, T: int, constant: bool
) -> tuple[Tensor, Tensor]:
    """Spikes [T*B, ...] and membrane potentials before their reset [T, B, ...].

    Args:
        current: Currents [T*B, ...], or [B, ...] where they are constant.
        neuron: The neurons.
        T: Time steps.
        constant: The currents are the same at every step.

    Returns:
        Spikes, 0 or 1, and potentials, in float32 where currents have 16 bits.
    """
    folded = torch.cat([current] * T) if constant else current
    currents = folded.unflatten(0, (T, -1))
    if currents.dtype in (torch.bfloat16, torch.float16):
        currents = currents.float()
    potential = torch.empty_like(currents)
    v = torch.zeros_like(currents[0])
    for x, u in zip(currents.unbind(0), potential.unbind(0), strict=True):
        torch.sub(x, v, out=u)
        u.mul_(1 / neuron.tau).add_(v)
        v = _reset(u, neuron)
    return _fires(potential, neuron).to(current.dtype).flatten(0, 1), potential


def python_backward(
    potential: Tensor, to_spikes: Tensor, neuron: Neuron, T: int, constant: bool
) -> Tensor:
    """The gradient of the currents: backpropagation through time with the surrogate derivative.

    Args:
        potential: As `python_forward` returned it [T, B, ...].
        to_spikes: The gradient of the spikes [T*B, ...].
        neuron: The neurons.
        T: Time steps.
        constant: The currents are the same at every step.

    Returns:
        The gradient, of the shape of the currents.
    """
    rate, hard = 1 / neuron.tau, neuron.reset == "zero"
    to_current = SURROGATES[neuron.surrogate](potential - neuron.threshold)
    grad = to_spikes.unflatten(0, (T, -1))
    to_v = torch.zeros_like(potential[0])
    for u, slope, g in zip(
        reversed(potential.unbind(0)),
        reversed(to_current.unbind(0)),
        reversed(grad.unbind(0)),
        strict=True,
    ):
        to_z = g if neuron.detach_reset else g - to_v * (u if hard else neuron.threshold)
        slope.mul_(to_z).add_(to_v.masked_fill(_fires(u, neuron), 0) if hard else to_v)
        to_v = slope * (1 - rate)
    to_current.mul_(rate)
    summed = to_current.sum(0) if constant else to_current.flatten(0, 1)
    return summed.to(to_spikes.dtype)


def _triton(x: Tensor) -> bool:
    return x.device.type == "cuda" and find_spec("triton") is not None


def _triton_forward(*call: Any) -> tuple[Tensor, Tensor]:
    from nas_service.snn.neurons import triton_scan

    return triton_scan.KERNELS.forward(*call)


def _triton_backward(*call: Any) -> Tensor:
    from nas_service.snn.neurons import triton_scan

    return triton_scan.KERNELS.backward(*call)


BACKENDS = {
    "cpp": Backend("cpp", native.runs, native.KERNELS.forward, native.KERNELS.backward),
    "triton": Backend("triton", _triton, _triton_forward, _triton_backward),
    "python": Backend("python", lambda x: True, python_forward, python_backward),
}
PREFERENCE = ("cpp", "triton", "python")
CHOICES = ("auto", *BACKENDS, "norse")


_forced: ContextVar[str | None] = ContextVar("forced", default=None)


@contextmanager
def forced(name: str) -> Iterator[None]:
    """A context in which this backend runs, whatever NAS_NEURONS is."""
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def requested() -> str:
    """The backend that is forced, else that of NAS_NEURONS.

    Raises:
        SpecError: NAS_NEURONS names no backend.
    """
    return _forced.get() or pick(
        dict(zip(CHOICES, CHOICES, strict=True)),
        os.environ.get("NAS_NEURONS", "auto"),
        "NAS_NEURONS",
    )


@functools.cache
def _cpp_fails() -> str | None:
    """Why this machine has no C++ backend, which is logged once; None where it has one."""
    try:
        native.library()
    except native.Unavailable as error:
        log.warning("neurons are computed in Python, several times slower: %s", error)
        return str(error)
    return None


def backend_name(device: Literal["cpu", "cuda"] = "cpu") -> str:
    """The backend that computes fp32 and bf16 tensors on a device."""
    return "norse" if requested() == "norse" else choose(torch.empty(0, device=device)).name


def choose(x: Tensor) -> Backend:
    """The backend that computes a tensor: the requested one if it can, else the fastest that can.

    Raises:
        SpecError: The C++ backend is requested, but cannot be built on this machine.
    """
    name = requested()
    for candidate in (name, *PREFERENCE):
        if candidate in BACKENDS and BACKENDS[candidate].runs(x):
            failure = _cpp_fails() if candidate == "cpp" else None
            if failure is None:
                return BACKENDS[candidate]
            if name == "cpp":
                raise SpecError(f"NAS_NEURONS=cpp, but the C++ backend cannot be built: {failure}")
    raise AssertionError("the Python backend computes any tensor")


def in_cpp(x: Tensor) -> bool:
    """True where C++ computes a tensor, so that other layers may use its functions too."""
    return requested() != "norse" and choose(x).name == "cpp"


def demand_whole_steps(current: Tensor, T: int, constant: bool) -> None:
    """Checks that folded currents hold the same number of samples at each step.

    Args:
        current: Currents [T*B, ...], or [B, ...] where they are constant.
        T: Time steps.
        constant: The currents are the same at every step.

    Raises:
        ValueError: The length of folded currents is no multiple of T.
    """
    if not constant and len(current) % T:
        raise ValueError(f"{len(current)} folded steps are no multiple of {T} time steps")


class Scan(torch.autograd.Function):
    """Currents to spikes, 0 or 1; its gradient is the surrogate gradient through time."""

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, neuron: Neuron, T: int, constant: bool, backend: Backend
    ) -> Tensor:
        """Computes the spikes and stores what the backward pass needs."""
        demand_whole_steps(current, T, constant)
        spikes, kept = backend.forward(current, neuron, T, constant)
        ctx.save_for_backward(kept)
        ctx.call = backend.backward, neuron, T, constant
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_spikes: Tensor) -> tuple[Tensor, None, None, None, None]:
        """The gradient of the currents; the other arguments have none."""
        backward, neuron, T, constant = ctx.call
        return backward(*ctx.saved_tensors, to_spikes, neuron, T, constant), None, None, None, None
