"""What children of the tests run: one way to end for each name of the weights."""

import ctypes
import json
import logging
import os
import resource
import signal
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


class OutOfMemoryError(RuntimeError):
    """As torch names its own for GPUs."""


def hog(job, check_interrupt):
    kept = []
    while True:
        kept.append(bytearray(2**22))
        kept[-1][::4096] = b"x" * len(kept[-1][::4096])


def limit_memory():
    """Lets this process take 1 GiB more; requested memory counts, touched or not."""
    lines = Path("/proc/self/status").read_text().splitlines()
    taken_KiB = next(int(line.split()[1]) for line in lines if line.startswith("VmData:"))
    most = taken_KiB * 1024 + 2**30
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def bytes_hog(job, check_interrupt):
    limit_memory()
    return bytearray(2**31)


def torch_hog(job, check_interrupt):
    import torch

    limit_memory()
    return torch.empty(2**31, dtype=torch.uint8)


def no_memory_on_device(job, check_interrupt):
    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def fill_disk(job, check_interrupt):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    Path(job["data"], "large").write_bytes(bytes(8192))


def fill_disk_by_safetensors(job, check_interrupt):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    save_file({"w": np.zeros(10_000)}, Path(job["data"], "large"))


def raise_from(job, check_interrupt):
    try:
        fill_disk(job, check_interrupt)
    except OSError as error:
        raise ValueError("cannot be kept") from error


def look_for_secrets(job, check_interrupt):
    result = [name for name, value in os.environ.items() if "canary" in value]
    raise ValueError(f"secrets: {result}")


def refuse(job, check_interrupt):
    raise ValueError("seven is no candidate")


def say(job, check_interrupt):
    print("printed", flush=True)
    warnings.warn("is torn", stacklevel=2)
    logging.getLogger("of.child").warning("fires %d", 7)
    return job["candidate"]


def _appear(job):
    """Says where the test looks which process this is."""
    adjusted = Path("/proc/self/oom_score_adj").read_text().strip()
    about = {"pid": os.getpid(), "server": os.getppid(), "oom_score_adj": adjusted}
    place = Path(job["data"], "child.json")
    place.with_suffix(".part").write_text(json.dumps(about))
    place.with_suffix(".part").replace(place)


def wait(job, check_interrupt):
    _appear(job)
    while True:
        check_interrupt()
        time.sleep(0.01)


def be_deaf(job, check_interrupt):
    _appear(job)
    while True:
        time.sleep(0.01)


def kill(number):
    return lambda job, check_interrupt: os.kill(os.getpid(), number)


WAYS = {
    "hog": hog,
    "torch_hog": torch_hog,
    "bytes": bytes_hog,
    "device": no_memory_on_device,
    "disk": fill_disk,
    "safetensors": fill_disk_by_safetensors,
    "disk_behind": raise_from,
    "secrets": look_for_secrets,
    "error": refuse,
    "segv": lambda job, check_interrupt: ctypes.string_at(0),
    "abort": lambda job, check_interrupt: os.abort(),
    "kill": kill(signal.SIGKILL),
    "exit": lambda job, check_interrupt: os._exit(3),
    "say": say,
    "wait": wait,
    "deaf": be_deaf,
}


def prepare(job):
    """Nothing is shared."""


def begin(job):
    return partial(WAYS[Path(job["weights"]).name], job)
