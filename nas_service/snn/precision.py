"""Arithmetic of a network: fp32, or bf16 where the processor has instructions for it."""

import functools
import logging
from pathlib import Path

import torch

log = logging.getLogger(__name__)

CPU_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")  # of x86 and of ARM, as Linux names them


@functools.cache
def native_bf16(kind: str = "cpu") -> bool:
    """Whether a kind of device computes in bf16: emulation is ten times slower than fp32."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return kind == "cpu" and not set(CPU_FLAGS).isdisjoint(words)


@functools.cache
def _say_fp32(kind: str) -> None:
    log.warning("bf16 was asked for, but this %s has no instructions for it: fp32", kind)


def autocast(bf16: bool, kind: str = "cpu") -> torch.autocast:
    """A context in which convolutions and matrices run in bf16, if asked for and at hand.

    Where bf16 is not at hand it changes nothing, and says so once in the log.
    """
    if bf16 and not native_bf16(kind):
        _say_fp32(kind)
    return torch.autocast(kind, torch.bfloat16, enabled=bf16 and native_bf16(kind))
