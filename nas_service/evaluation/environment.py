"""What of this process decides a measured number: package versions, device, memory."""

import logging
import os
from functools import cache
from importlib.metadata import version

import torch

from nas_service.errors import SpecError
from nas_service.evaluation.control_group import installed_B, memory_limits
from nas_service.snn.neurons import backend_name

PACKAGES = ("nas-service", "torch", "norse", "optuna", "numpy")

log = logging.getLogger(__name__)


def versions() -> dict[str, str]:
    """Versions of the packages that decide a measured number, and the backend of the neurons."""
    return _installed() | {"neurons": backend_name()}


@cache
def _installed() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def check_device_name(name: str, key: str) -> None:
    """Checks that a name is one of a device, which this machine need not have.

    Args:
        name: The name.
        key: The option or variable that holds it, for the message.

    Raises:
        SpecError: No device has such a name.
    """
    try:
        torch.device(name)
    except (RuntimeError, ValueError):
        raise SpecError(
            f"{key} {name!r:.80}: a device is needed, such as cpu, cuda:0 or mps"
        ) from None


def device() -> torch.device:
    """The device of this process, from the environment variable `NAS_DEVICE` (default `cpu`).

    Raises:
        SpecError: This machine has no such device.
    """
    name = os.environ.get("NAS_DEVICE", "cpu")
    try:
        chosen = torch.device(name)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"NAS_DEVICE = {name!r}: no such device ({reason})") from None
    return chosen


def warn_of_memory(limit_GiB: float) -> None:
    """Logs a warning where a study may train candidates for which this machine lacks memory.

    Args:
        limit_GiB: Memory that a training of the study may take.
    """
    limits = [limit.limit_B for limit in memory_limits()]
    available_GiB = min([installed_B(), *limits]) / 2**30
    if limit_GiB > available_GiB:
        log.warning(
            "training.memory_GiB = %g, but this machine has %.1f GiB: a training may be killed",
            limit_GiB,
            available_GiB,
        )
