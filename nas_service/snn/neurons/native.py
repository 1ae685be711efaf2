"""C++ for CPU tensors: built once on a machine, kept in the user's cache, called by pointers."""

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

SOURCES = tuple(Path(__file__).with_name(name) for name in ("scan.cpp", "spike_conv.cpp"))
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
    sources = [source.read_text() for source in SOURCES]
    parts = (*sources, *flags, _run([compiler, "--version"]), _processor())
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    library = _private(folder) / f"scan-{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            fresh = Path(beside) / library.name
            _run([compiler, *flags, *map(str, SOURCES), "-o", str(fresh)])
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
    "spike_list": [P, I64, I64, P, I64, P],
    "spike_conv_forward": [P] * 5,
    "spike_conv_backward": [P] * 5,
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
    found.spike_list.restype = I64
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


class _Map(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("images", "height", "width", "c_in", "c_out", "kernel")
    )


@dataclass(frozen=True)
class Spikes:
    """Where the ones are in [N, C, H, W]: places in their image, and their number up to each."""

    places: Tensor  # int32
    ends: Tensor  # int64 [N]


def spikes_of(x: Tensor, at_most: float) -> Spikes | None:
    """Spikes of a channels_last tensor; None if it has other values, or too large a share."""
    room = int(at_most * x.numel())
    places = torch.empty(room, dtype=torch.int32)
    ends = torch.empty(len(x), dtype=torch.int64)
    size = x.numel() // len(x)
    into = (places.data_ptr(), room, ends.data_ptr())
    found = library().spike_list(x.data_ptr(), len(x), size, *into)
    return None if found < 0 else Spikes(places[:found].clone(), ends)


def _map(shape: torch.Size, weight: Tensor) -> _Map:
    images, c_in, height, width = shape
    return _Map(images, height, width, c_in, weight.shape[0], weight.shape[2])


def spike_conv_forward(spikes: Spikes, shape: torch.Size, weight: Tensor) -> Tensor:
    """Convolution [N, C_out, H, W] of spikes with weights [C_out, C_in, k, k]."""
    y = torch.empty((shape[0], len(weight), *shape[2:]), memory_format=torch.channels_last)
    turned = weight.flip(2, 3).permute(1, 2, 3, 0).contiguous()
    into = (spikes.places.data_ptr(), spikes.ends.data_ptr(), turned.data_ptr(), y.data_ptr())
    library().spike_conv_forward(ctypes.byref(_map(shape, weight)), *into)
    return y


def spike_conv_backward(spikes: Spikes, shape: torch.Size, weight: Tensor, to_y: Tensor) -> Tensor:
    """Gradient of the weights."""
    g = to_y.contiguous(memory_format=torch.channels_last)
    turned = torch.zeros(weight.permute(1, 2, 3, 0).shape)
    into = (spikes.places.data_ptr(), spikes.ends.data_ptr(), g.data_ptr(), turned.data_ptr())
    library().spike_conv_backward(ctypes.byref(_map(shape, weight)), *into)
    return turned.permute(3, 0, 1, 2).flip(2, 3)
