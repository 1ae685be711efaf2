"""Arithmetic of a network: fp32, or bf16 where the processor has instructions for it."""

import functools
import logging
from pathlib import Path

import torch

log = logging.getLogger(__name__)

CPU_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")  # of x86 and of ARM, as Linux names them


@functools.cache
def native_bf16(kind: str = "cpu") -> bool:
    """True where a kind of device has bf16 instructions; emulation is ten times slower than fp32.

    Args:
        kind: `cpu` or `cuda`.

    Returns:
        Whether bf16 is worth using.
    """
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return kind == "cpu" and not set(CPU_FLAGS).isdisjoint(flags)


@functools.cache
def _warn_of_fp32(kind: str) -> None:
    log.warning("precision = 'bf16', but this %s has no bf16 instructions: fp32 is used", kind)


def autocast(bf16: bool, kind: str = "cpu") -> torch.autocast:
    """A context in which convolutions and matrix products run in bf16.

    Args:
        bf16: Whether bf16 is asked for. A device without bf16 instructions computes in fp32, which
            is reported in the log once.
        kind: `cpu` or `cuda`.

    Returns:
        The context; it does nothing without bf16.
    """
    if bf16 and not native_bf16(kind):
        _warn_of_fp32(kind)
    return torch.autocast(kind, torch.bfloat16, enabled=bf16 and native_bf16(kind))
