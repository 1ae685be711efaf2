"""The Triton backend for CUDA tensors: a program computes all time steps of a block of neurons.

T time steps, N neurons in memory order. The membrane potential is fp32. Pointers advance from step
to step, as T * N may be more than an int32 holds.
"""
# mypy: disable-error-code="import-not-found, untyped-decorator, no-untyped-def"

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from nas_service.snn.neurons.kernels import Kernels
from nas_service.snn.neurons.neuron import Neuron

BLOCK = 256  # neurons of a program
PI = tl.constexpr(math.pi)


@triton.jit
def _charge(v, x, rate):
    return v + rate * (x - v)


@triton.jit
def _fires(u, threshold, at_threshold: tl.constexpr):
    return (u >= threshold) if at_threshold else (u > threshold)


@triton.jit
def _reset(u, fires, threshold, hard: tl.constexpr):
    return tl.where(fires, 0.0 if hard else u - threshold, u)


@triton.jit
def _forward(
    current,
    spikes,
    stride,
    T,
    N,
    rate,
    threshold,
    hard: tl.constexpr,
    at_threshold: tl.constexpr,
    BLOCK: tl.constexpr,
):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < N
    x_at, z_at = current + i, spikes + i
    v = tl.zeros([BLOCK], tl.float32)
    for _ in range(T):
        u = _charge(v, tl.load(x_at, inside, 0.0).to(tl.float32), rate)
        z = _fires(u, threshold, at_threshold)
        tl.store(z_at, tl.where(z, 1.0, 0.0).to(spikes.dtype.element_ty), inside)
        v = _reset(u, z, threshold, hard)
        x_at += stride
        z_at += N


@triton.jit
def _backward(
    current,
    to_spikes,
    to_current,
    potential,
    stride,
    T,
    N,
    rate,
    threshold,
    atan: tl.constexpr,
    hard: tl.constexpr,
    detach: tl.constexpr,
    at_threshold: tl.constexpr,
    constant: tl.constexpr,
    BLOCK: tl.constexpr,
):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < N
    x_at, u_at, to_x_at, to_z_at = current + i, potential + i, to_current + i, to_spikes + i
    v = tl.zeros([BLOCK], tl.float32)
    for _ in range(T):
        u = _charge(v, tl.load(x_at, inside, 0.0).to(tl.float32), rate)
        tl.store(u_at, u, inside)
        v = _reset(u, _fires(u, threshold, at_threshold), threshold, hard)
        x_at += stride
        u_at += N
        to_z_at += N
        to_x_at += stride
    tl.debug_barrier()
    to_v = tl.zeros([BLOCK], tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    for _ in range(T):
        u_at -= N
        to_z_at -= N
        to_x_at -= stride
        u = tl.load(u_at, inside, 0.0)
        to_z = tl.load(to_z_at, inside, 0.0).to(tl.float32)
        if not detach:
            to_z -= to_v * (u if hard else threshold)
        distance = u - threshold
        if atan:
            slope = 1 / (1 + (PI * distance) * (PI * distance))
        else:
            slope = tl.maximum(1 - tl.abs(distance), 0.0)
        kept = to_v
        if hard:
            kept = tl.where(_fires(u, threshold, at_threshold), 0.0, to_v)
        to_u = kept + to_z * slope
        to_v = to_u - rate * to_u
        total += rate * to_u
        if not constant:
            tl.store(to_x_at, (rate * to_u).to(to_current.dtype.element_ty), inside)
    if constant:
        tl.store(to_current + i, total.to(to_current.dtype.element_ty), inside)


def fill_spikes(x: Tensor, spikes: Tensor, neuron: Neuron, T: int, constant: bool) -> None:
    """Computes spikes on a GPU; see `Kernels.fill_spikes`."""
    N = spikes.numel() // T
    _forward[(triton.cdiv(N, BLOCK),)](
        x,
        spikes,
        0 if constant else N,
        T,
        N,
        1 / neuron.tau,
        neuron.threshold,
        neuron.reset == "zero",
        neuron.fires_at_threshold,
        BLOCK,
        enable_fp_fusion=False,  # rounds as torch's separate operations do
    )


def fill_gradient(
    x: Tensor, to_spikes: Tensor, to_current: Tensor, neuron: Neuron, T: int, constant: bool
) -> None:
    """Computes the gradient of currents on a GPU; see `Kernels.fill_gradient`."""
    N = to_spikes.numel() // T
    _backward[(triton.cdiv(N, BLOCK),)](
        x,
        to_spikes,
        to_current,
        torch.empty(T * N, dtype=torch.float32, device=x.device),
        0 if constant else N,
        T,
        N,
        1 / neuron.tau,
        neuron.threshold,
        neuron.surrogate == "atan",
        neuron.reset == "zero",
        neuron.detach_reset,
        neuron.fires_at_threshold,
        constant,
        BLOCK,
        enable_fp_fusion=False,
    )


KERNELS = Kernels(fill_spikes, fill_gradient)
