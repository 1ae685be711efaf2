"""The C++ backend for CPU tensors: built once on a machine, cached, called with pointers.

T time steps, B batch, C channels, H W pixels, N images or neurons of all steps.
"""

import ctypes
import functools
import hashlib
import os
import platform
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nas_service.snn.compiler import COMPILERS, cache_folder, find_compiler
from nas_service.snn.neurons.kernels import Kernels
from nas_service.snn.neurons.layout import dense, dense_as, memory_format, room_for_spikes
from nas_service.snn.neurons.neuron import Neuron

FOLDER = Path(__file__).parent
HEADERS = (FOLDER / "neuron.h",)
SOURCES = tuple(FOLDER / name for name in ("scan.cpp", "norm.cpp", "spike_conv.cpp"))
# No contraction: u = v + rate * (x - v) rounds as torch's separate operations do.
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-ffp-contract=off"),
    *("-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"),
)
BUILD_TIME_s = 300.0
TYPES = {torch.float32: 0, torch.bfloat16: 1}


class Unavailable(Exception):
    """The C++ library cannot be built or loaded; neurons are computed in Python instead."""


def _private(folder: Path) -> Path:
    """The folder, made if need be; its files are executed, so only this user may write to it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise Unavailable(f"{folder} is not a folder that only this user can write to")
    return folder


def _compiler() -> str:
    if (compiler := find_compiler()) is None:
        raise Unavailable(f"no C++ compiler ({', '.join(COMPILERS)})")
    return compiler


def _run(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603  a compiler found on the user's own path
        command, capture_output=True, text=True, timeout=BUILD_TIME_s, check=False
    )
    if done.returncode:
        first = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise Unavailable(f"{Path(command[0]).name} ended with {done.returncode}: {first}")
    return done.stdout


def _processor() -> str:
    """The processor that -march=native compiles for: machines may share the cache folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    kinds = ("model name", "flags", "CPU part", "Features", "isa")
    return "\n".join(sorted({line for line in lines if line.startswith(kinds)}))


def build(folder: Path, flags: tuple[str, ...] = FLAGS) -> Path:
    """Compiles the library unless the folder has it.

    It is built in a temporary folder and renamed, so that several workers may build it at once.

    Args:
        folder: Where the library is kept.
        flags: Flags of the compiler.

    Returns:
        The path of the library.

    Raises:
        Unavailable: There is no compiler, it fails, or others may write to the folder.
    """
    compiler = _compiler()
    sources = [source.read_text() for source in (*HEADERS, *SOURCES)]
    parts = (*sources, *flags, _run([compiler, "--version"]), _processor())
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    library = _private(folder) / f"scan-{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            built = Path(temporary) / library.name
            _run([compiler, *flags, *map(str, SOURCES), "-o", str(built)])
            built.replace(library)
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
    """The functions of SOURCES.

    Raises:
        Unavailable: They cannot be built or loaded.
    """
    try:
        functions = ctypes.CDLL(str(build(cache_folder(os.environ))))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise Unavailable(str(error)) from error
    for name, signature in SIGNATURES.items():
        function = getattr(functions, name)
        function.argtypes, function.restype = signature, None
    functions.spike_list.restype = I64
    return functions


def runs(x: Tensor) -> bool:
    """True where the C++ functions can read the tensor."""
    return x.device.type == "cpu" and x.dtype in TYPES and x.layout is torch.strided


def fill_spikes(x: Tensor, spikes: Tensor, neuron: Neuron, T: int, constant: bool) -> None:
    """Computes spikes in C++; see `Kernels.fill_spikes`."""
    N = spikes.numel() // T
    arguments = (x.data_ptr(), 0 if constant else N, spikes.data_ptr(), T, N)
    library().lif_forward(ctypes.byref(_native(neuron)), TYPES[x.dtype], *arguments)


def fill_gradient(
    x: Tensor, to_spikes: Tensor, to_current: Tensor, neuron: Neuron, T: int, constant: bool
) -> None:
    """Computes the gradient of currents in C++; see `Kernels.fill_gradient`."""
    N = to_spikes.numel() // T
    gradients = to_spikes.data_ptr(), to_current.data_ptr()
    arguments = (x.data_ptr(), 0 if constant else N, *gradients, T, N)
    library().lif_backward(ctypes.byref(_native(neuron)), TYPES[x.dtype], *arguments)


KERNELS = Kernels(fill_spikes, fill_gradient)


@dataclass(frozen=True)
class Norm:
    """The numbers of a batch norm, each [C].

    In training, mean and inverse deviation are empty: `norm_forward` fills in those of the batch.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    inverse_deviation: Tensor
    training: bool
    epsilon: float = 0.0

    def pointers(self) -> tuple[int, ...]:
        """Addresses of the four tensors, in the order of the C++ functions."""
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
    """Batch norm and neurons as one operation.

    Args:
        current: Currents [T*B, C, H, W], or [B, C, H, W] where they are constant.
        norm: The batch norm; in training its mean and inverse deviation are filled in.
        neuron: The neurons.
        T: Time steps.
        constant: The currents are the same at every step.

    Returns:
        Spikes [T*B, C, H, W], the dense currents, and in training their unbiased variance [C].
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
    """The gradients of `norm_forward`.

    Args:
        x: The dense currents, as `norm_forward` returned them.
        norm: The batch norm, with the mean and inverse deviation of the forward pass.
        to_spikes: The gradient of the spikes [T*B, C, H, W].
        neuron: The neurons.
        T: Time steps.
        constant: The currents are the same at every step.

    Returns:
        Gradients of x, of the weight [C] and of the bias [C].
    """
    g = dense_as(x, to_spikes)
    gradients = torch.empty_like(x), torch.empty_like(norm.weight), torch.empty_like(norm.bias)
    library().norm_lif_backward(
        ctypes.byref(_native(neuron)),
        ctypes.byref(_shape(x, T, constant)),
        TYPES[x.dtype],
        norm.training,
        x.data_ptr(),
        *norm.pointers(),
        g.data_ptr(),
        *(value.data_ptr() for value in gradients),
    )
    return gradients


class _Map(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("images", "height", "width", "c_in", "c_out", "kernel")
    )


@dataclass(frozen=True)
class Spikes:
    """The positions of the ones in a tensor [N, C, H, W] of spikes."""

    positions: Tensor  # int32, within the image of each
    ends: Tensor  # int64 [N]: the number of spikes up to the end of each image


def spikes_of(x: Tensor, at_most: float) -> Spikes | None:
    """The spikes of a tensor.

    Args:
        x: A channels_last tensor [N, C, H, W].
        at_most: The largest share of spikes, 0..1.

    Returns:
        None where it has other values than 0 and 1, or a larger share of spikes.
    """
    room = int(at_most * x.numel())
    positions = torch.empty(room, dtype=torch.int32)
    ends = torch.empty(len(x), dtype=torch.int64)
    size = x.numel() // len(x)
    arguments = (positions.data_ptr(), room, ends.data_ptr())
    count = library().spike_list(x.data_ptr(), len(x), size, *arguments)
    return None if count < 0 else Spikes(positions[:count].clone(), ends)


def _map(shape: torch.Size, weight: Tensor) -> _Map:
    images, c_in, height, width = shape
    return _Map(images, height, width, c_in, weight.shape[0], weight.shape[2])


def spike_conv_forward(spikes: Spikes, shape: torch.Size, weight: Tensor) -> Tensor:
    """Convolution with stride 1 that keeps the size of its map.

    Args:
        spikes: Those of a tensor [N, C_in, H, W].
        shape: Its shape.
        weight: Weights [C_out, C_in, k, k].

    Returns:
        The outputs [N, C_out, H, W].
    """
    y = torch.empty((shape[0], len(weight), *shape[2:]), memory_format=torch.channels_last)
    turned = weight.flip(2, 3).permute(1, 2, 3, 0).contiguous()
    arguments = (spikes.positions, spikes.ends, turned, y)
    pointers = (tensor.data_ptr() for tensor in arguments)
    library().spike_conv_forward(ctypes.byref(_map(shape, weight)), *pointers)
    return y


def spike_conv_backward(spikes: Spikes, shape: torch.Size, weight: Tensor, to_y: Tensor) -> Tensor:
    """The gradient of the weights of `spike_conv_forward`.

    Args:
        spikes: Those of the inputs [N, C_in, H, W].
        shape: The shape of the inputs.
        weight: The weights [C_out, C_in, k, k]; only their shape is read.
        to_y: The gradient of the outputs [N, C_out, H, W].

    Returns:
        The gradient [C_out, C_in, k, k].
    """
    g = to_y.contiguous(memory_format=torch.channels_last)
    turned = torch.zeros(weight.permute(1, 2, 3, 0).shape)
    arguments = (spikes.positions, spikes.ends, g, turned)
    pointers = (tensor.data_ptr() for tensor in arguments)
    library().spike_conv_backward(ctypes.byref(_map(shape, weight)), *pointers)
    return turned.permute(3, 0, 1, 2).flip(2, 3)
