"""The C++ scan: built once on a machine, kept in the user's cache, called on CPU tensors."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nas_service.snn.neurons.layout import dense, dense_as, memory_format, room_for_spikes
from nas_service.snn.neurons.neuron import Neuron

SOURCE = Path(__file__).with_name("scan.cpp")
COMPILERS = ("g++", "clang++", "c++")
# No contraction: u = v + rate * (x - v) rounds as torch's separate operations do.
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-ffp-contract=off"),
    *("-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"),
)
BUILD_TIME_s = 300.0
TYPES = {torch.float32: 0, torch.bfloat16: 1}


class Unavailable(Exception):
    """The C++ scan cannot be built or loaded here. The neurons run in Python instead."""


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where built libraries are kept: NAS_CACHE, else the user's cache folder."""
    if given := environment.get("NAS_CACHE"):
        return Path(given) / "neurons"
    user = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user) / "nas-service" / "neurons"


def _private(folder: Path) -> Path:
    """The folder, made if need be; what lies in it gets executed, so it must be ours alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Unavailable(f"{folder} is not a folder that only this user can write to")
    return folder


def _compiler() -> str:
    found = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if found is None:
        raise Unavailable(f"no C++ compiler ({', '.join(COMPILERS)})")
    return found


def _run(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603  a compiler found on the user's own path
        command, capture_output=True, text=True, timeout=BUILD_TIME_s, check=False
    )
    if done.returncode:
        first = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise Unavailable(f"{Path(command[0]).name} ended with {done.returncode}: {first}")
    return done.stdout


def _processor() -> str:
    """What -march=native depends on: libraries may lie on a disk that many machines share."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    kinds = ("model name", "flags", "CPU part", "Features", "isa")
    return "\n".join(sorted({line for line in lines if line.startswith(kinds)}))


def build(folder: Path, flags: tuple[str, ...] = FLAGS) -> Path:
    """The library, compiled unless the folder has it. Raises Unavailable.

    Built beside and renamed, so that several workers may build it at once.
    """
    compiler = _compiler()
    parts = (SOURCE.read_text(), *flags, _run([compiler, "--version"]), _processor())
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    library = _private(folder) / f"scan-{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            fresh = Path(beside) / library.name
            _run([compiler, *flags, str(SOURCE), "-o", str(fresh)])
            fresh.replace(library)
    return library


class _Neuron(ctypes.Structure):
    _fields_ = (
        ("rate", ctypes.c_float),
        ("threshold", ctypes.c_float),
        ("atan", ctypes.c_int32),
        ("hard", ctypes.c_int32),
        ("detach", ctypes.c_int32),
        ("at_threshold", ctypes.c_int32),
    )


class _Shape(ctypes.Structure):
    _fields_ = (
        ("T", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("pixels", ctypes.c_int64),
        ("channels_last", ctypes.c_int32),
        ("constant", ctypes.c_int32),
    )


@functools.cache
def _native(n: Neuron) -> _Neuron:
    flags = n.surrogate == "atan", n.reset == "zero", n.detach_reset, n.fires_at_threshold
    return _Neuron(1 / n.tau, n.threshold, *flags)


P, I32, I64, F64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_double
SIGNATURES = {
    "lif_forward": [P, I32, P, I64, P, I64, I64],
    "lif_backward": [P, I32, P, I64, P, P, I64, I64],
    "norm_lif_forward": [P, P, I32, I32, F64, *[P] * 7],
    "norm_lif_backward": [P, P, I32, I32, *[P] * 9],
}


@functools.cache
def library() -> ctypes.CDLL:
    """The functions of scan.cpp. Raises Unavailable."""
    try:
        found = ctypes.CDLL(str(build(cache_folder(os.environ))))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise Unavailable(str(error)) from error
    for name, signature in SIGNATURES.items():
        function = getattr(found, name)
        function.argtypes, function.restype = signature, None
    return found


def runs(x: Tensor) -> bool:
    """Whether the C++ scan can read the tensor."""
    return x.device.type == "cpu" and x.dtype in TYPES and x.layout is torch.strided


def forward(current: Tensor, neuron: Neuron, T: int, constant: bool) -> tuple[Tensor, Tensor]:
    x = dense(current)
    spikes = room_for_spikes(x, T, constant)
    N = spikes.numel() // T
    into = (x.data_ptr(), 0 if constant else N, spikes.data_ptr(), T, N)
    library().lif_forward(ctypes.byref(_native(neuron)), TYPES[x.dtype], *into)
    return spikes, x


def backward(x: Tensor, to_spikes: Tensor, neuron: Neuron, T: int, constant: bool) -> Tensor:
    g = dense_as(x, to_spikes)
    to_current = torch.empty_like(x)
    N = g.numel() // T
    into = (x.data_ptr(), 0 if constant else N, g.data_ptr(), to_current.data_ptr(), T, N)
    library().lif_backward(ctypes.byref(_native(neuron)), TYPES[x.dtype], *into)
    return to_current


@dataclass(frozen=True)
class Norm:
    """What batch norm does to a channel [C]: numbers of the batch in training, else given."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    inverse_deviation: Tensor
    training: bool
    epsilon: float = 0.0

    def pointers(self) -> tuple[int, ...]:
        values = (self.weight, self.bias, self.mean, self.inverse_deviation)
        return tuple(value.data_ptr() for value in values)


def _shape(x: Tensor, T: int, constant: bool) -> _Shape:
    batch = len(x) if constant else len(x) // T
    pixels = x.shape[2] * x.shape[3]
    last = x.shape[1] > 1 and memory_format(x) is torch.channels_last
    return _Shape(T, batch, x.shape[1], pixels, last, constant)


def norm_forward(
    current: Tensor, norm: Norm, neuron: Neuron, T: int, constant: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, the dense currents [.., C, H, W], and in training their unbiased variance [C].

    In training it fills `norm.mean` and `norm.inverse_deviation`.
    """
    x = dense(current)
    spikes, variance = room_for_spikes(x, T, constant), torch.empty_like(norm.mean)
    library().norm_lif_forward(
        ctypes.byref(_native(neuron)),
        ctypes.byref(_shape(x, T, constant)),
        TYPES[x.dtype],
        norm.training,
        norm.epsilon,
        x.data_ptr(),
        *norm.pointers(),
        variance.data_ptr(),
        spikes.data_ptr(),
    )
    return spikes, x, variance


def norm_backward(
    x: Tensor, norm: Norm, to_spikes: Tensor, neuron: Neuron, T: int, constant: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the currents, the weight and the bias."""
    g = dense_as(x, to_spikes)
    found = torch.empty_like(x), torch.empty_like(norm.weight), torch.empty_like(norm.bias)
    library().norm_lif_backward(
        ctypes.byref(_native(neuron)),
        ctypes.byref(_shape(x, T, constant)),
        TYPES[x.dtype],
        norm.training,
        x.data_ptr(),
        *norm.pointers(),
        g.data_ptr(),
        *(value.data_ptr() for value in found),
    )
    return found
