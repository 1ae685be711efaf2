"""A layer as a chip computes it: one weight matrix, and how often an inference uses it."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hw_models.errors import WorkloadError

KINDS = ("conv", "linear")
MAX_SIZE = 2**24  # of one side or one channel count: beyond any network, far below overflow
SIDES = ("kernel", "stride", "in_size", "out_size", "pool", "pooled_size", "padding")

Side = int | tuple[int, int]  # both sides of a square, or (height, width)


@dataclass(frozen=True)
class Layer:
    """One weight matrix: a convolution on maps, or a linear layer (kernel 1 on 1x1).

    A size is one number for a square, or (height, width). What a layer costs on a chip
    follows from the positions of its output and the taps of its kernel alone, so a dilated kernel
    is its taps.

    Raises:
        WorkloadError: A value that no layer can have; it names layer, key and what would be right.
    """

    name: str
    kind: str
    in_channels: int
    out_channels: int
    kernel: Side = 1
    stride: Side = 1
    groups: int = 1  # in_channels for a depthwise convolution
    in_size: Side = 0  # of the input map; a linear layer has 1, a convolution must say it
    out_size: Side = 0  # of its own output map, before the pooling; likewise
    pool: Side = 1  # window of the pooling after it
    weight_bits: int = 8
    input_bits: int = 1  # 1 for spikes; 8 for the pixels of a directly coded image
    once: bool = False  # inputs are the same at every time step: multiplied once per inference
    spike_rate: float | tuple[float, ...] = (
        1.0  # share of inputs that are not 0, or one per time step
    )
    parameters: int | None = None  # trained numbers of the layer; None: just the weights
    neurons: int | None = None  # membrane potentials kept for it; None: one per output
    input_adds: int = 0  # additions of branches and pooling windows before it, per time step
    sources: tuple[str, ...] | None = None  # layers it reads: None the previous one, () the image
    feedback: tuple[str, ...] = ()  # layers whose outputs of the previous time step it also reads
    pooled_size: Side | None = None  # of the map after the pooling; None: out_size // pool
    padding: Side | None = None  # zeros on each side of the input map; None: at most kernel - 1
    rearranged: bool = False  # reads a known part, regrouping or pooling of its sources' values
    synapses: int | None = None  # products of a time step, none on padding; None: by the sizes
    scales: int | None = None  # numbers beside the weights that a deployed network keeps

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise self._wrong("kind", f"one of {', '.join(KINDS)}")
        self._whole("in_channels", MAX_SIZE)
        self._whole("out_channels", MAX_SIZE)
        self._check_sizes()
        self._whole("groups", math.gcd(self.in_channels, self.out_channels))
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise self._wrong("groups", "a divisor of in_channels and out_channels")
        self._whole("weight_bits", 32)
        self._whole("input_bits", 32)
        self._whole("input_adds", 2**60, least=0)
        if self.neurons is not None:
            self._whole("neurons", 2**60, least=0)
        if self.parameters is not None:
            self._whole("parameters", 2**60, least=self.weights)
        for name in ("synapses", "scales"):
            if getattr(self, name) is not None:
                self._whole(name, 2**60, least=0)
        for name in ("once", "rearranged"):
            if type(getattr(self, name)) is not bool:
                raise self._wrong(name, "true or false")
        self._check_rates()
        self._check_names("feedback")
        if self.sources is not None:
            self._check_names("sources")

    def _check_sizes(self) -> None:
        self._side("kernel", MAX_SIZE)
        if self.kind == "linear":
            self._demand_one_position()
        self._side("stride", MAX_SIZE)
        if self.padding is not None:
            self._side("padding", MAX_SIZE, least=0)
        self._demand_map("in_size", "reads")
        if _absent(self.out_size) and self.padding is not None:
            object.__setattr__(self, "out_size", self._output_at(pair(self.padding)))
            self._demand_room()
        self._demand_map("out_size", "gives")
        self._side("out_size", self.largest_output)
        if self.pooled_size is None:
            self._side("pool", self.out_size)
            return
        self._side("pool", MAX_SIZE)
        (height, width), (rows, columns) = pair(self.out_size), pair(self.pool)
        self._side("pooled_size", (height + rows - 1, width + columns - 1))

    def _demand_one_position(self) -> None:
        """A linear layer is multiplied once: sizes would change its costs, or do nothing."""
        for name in ("kernel", "stride", "in_size", "out_size", "padding"):
            most = 0 if name == "padding" else 1
            if pair(getattr(self, name) or 0) not in ((0, 0), (most, most)):
                raise self._wrong(name, 'none for a linear layer, or kind = "conv",')

    def _demand_room(self) -> None:
        """A kernel that is larger than the padded map gives no output."""
        if min(pair(self.out_size)) < 1:
            raise self._wrong("kernel", f"at most in_size + 2 padding ({self._padded_text()})")

    def _padded_text(self) -> str:
        sides = zip(pair(self.in_size), pair(self.padding or 0), strict=True)
        return " x ".join(str(n + 2 * p) for n, p in sides)

    def _demand_map(self, name: str, verb: str) -> None:
        """Checks the size of a map; a linear layer that says none has one pixel."""
        if _absent(getattr(self, name)):
            if self.kind == "conv":
                raise WorkloadError(
                    f"layer {self.name!r}: {name} is needed, the side of the map that it {verb} "
                    "or [height, width]"
                )
            object.__setattr__(self, name, 1)
        self._side(name, MAX_SIZE)

    def _check_rates(self) -> None:
        for rate in self.rates or (None,):
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
                raise self._wrong("spike_rate", "a share in 0..1, or one for each time step,")

    def _check_names(self, key: str) -> None:
        names = getattr(self, key)
        if not isinstance(names, tuple) or not all(isinstance(x, str) for x in names):
            raise self._wrong(key, "a list of layer names")

    def _whole(self, name: str, most: int, least: int = 1) -> None:
        value = getattr(self, name)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(name, f"a whole number in {least}..{most}")

    def _side(self, name: str, most: Side, least: int = 1) -> None:
        """Checks a size against the largest of each side; a pair of equal sides becomes one."""
        value = getattr(self, name)
        if type(value) is int and least <= value <= (most if isinstance(most, int) else min(most)):
            return
        if type(value) is not tuple:
            raise self._wrong(name, f"a whole number in {least}..{min(pair(most))}")
        ends = [f"{least}..{top}" for top in pair(most)]
        if len(value) != 2 or not all(
            type(x) is int and least <= x <= top for x, top in zip(value, pair(most), strict=True)
        ):
            raise self._wrong(name, f"[height, width] in {ends[0]} and {ends[1]}")
        if value[0] == value[1]:
            object.__setattr__(self, name, value[0])

    def _wrong(self, name: str, right: str) -> WorkloadError:
        value = getattr(self, name)
        return WorkloadError(f"layer {self.name!r}: {name} = {value!r:.60}, {right} is needed")

    @property
    def rates(self) -> tuple[float, ...]:
        """Spike rates: one for all time steps, or one for each."""
        return self.spike_rate if isinstance(self.spike_rate, tuple) else (self.spike_rate,)

    def with_rate(self, rate: float | Sequence[float]) -> "Layer":
        """The same layer at another spike rate, or one per time step; only it is checked again."""
        layer = copy.copy(self)
        object.__setattr__(layer, "spike_rate", rate_of(rate))
        layer._check_rates()
        return layer

    @property
    def largest_output(self) -> Side:
        """The largest output map that a convolution can give.

        Padding counts up to kernel - 1, from where on only zeros are read, or as `padding` says.
        """
        kernel, size, stride = self.kernel, self.in_size, self.stride
        if self.padding is None and type(kernel) is type(size) is type(stride) is int:
            return (size + kernel - 2) // stride + 1  # the same, faster
        least = (0, 0) if self.padding is None else pair(self.padding)
        height, width = (max(p, k - 1) for p, k in zip(least, pair(self.kernel), strict=True))
        return self._output_at((height, width))

    def _output_at(self, padding: tuple[int, int]) -> Side:
        """Size of the output map with this padding of each side."""
        sides = zip(pair(self.in_size), pair(self.kernel), pair(self.stride), padding, strict=True)
        return square_or_pair(*((n + 2 * p - k) // s + 1 for n, k, s, p in sides))

    @property
    def taps(self) -> int:
        """Positions of the kernel."""
        return area(self.kernel)

    @property
    def rows(self) -> int:
        """Inputs of one output: rows of the matrix, of one group."""
        return self.in_channels // self.groups * self.taps

    @property
    def weights(self) -> int:
        """Weights of the matrix, over all groups."""
        return self.rows * self.out_channels

    @property
    def trained_numbers(self) -> int:
        """Parameters to store: the weights where nothing else is given."""
        return self.weights if self.parameters is None else self.parameters

    @property
    def dense_operations(self) -> int:
        """Synaptic operations of a time step in which every input is set."""
        if self.synapses is not None:
            return self.synapses
        sizes = self.out_size, self.in_size, self.kernel, self.stride
        sides = [pair(x) for x in (*sizes, *([] if self.padding is None else [self.padding]))]
        return self.weights // self.taps * math.prod(map(taps_inside, *sides))

    @property
    def scale_numbers(self) -> int:
        """Numbers beside the weights when it is deployed; a scale and a bias of each output."""
        return 2 * self.out_channels if self.scales is None else self.scales

    @property
    def map_size(self) -> Side:
        """Size of the map after the pooling, which the layer's readers get."""
        if self.pooled_size is not None:
            return self.pooled_size
        if isinstance(self.out_size, int) and isinstance(self.pool, int):
            return self.out_size // self.pool
        (height, width), (rows, columns) = pair(self.out_size), pair(self.pool)
        return square_or_pair(height // rows, width // columns)

    @property
    def in_pixels(self) -> int:
        """Pixels of the input map."""
        return area(self.in_size)

    @property
    def out_pixels(self) -> int:
        """Pixels of the layer's own output map: how often a time step multiplies the matrix."""
        return area(self.out_size)

    @property
    def map_pixels(self) -> int:
        """Pixels of the map after the pooling."""
        return area(self.map_size)

    @property
    def pool_taps(self) -> int:
        """Pixels of a pooling window."""
        return area(self.pool)


def _absent(side: object) -> bool:
    return type(side) is int and side == 0


def pair(side: Side) -> tuple[int, int]:
    """A size as (height, width)."""
    return (side, side) if isinstance(side, int) else side


def area(side: Side) -> int:
    """Positions of a map, a kernel or a window of this size."""
    return side * side if isinstance(side, int) else side[0] * side[1]


def square_or_pair(height: int, width: int) -> Side:
    """One number for equal sides, else (height, width)."""
    return height if height == width else (height, width)


def rate_of(rate: float | Sequence[float]) -> float | tuple[float, ...]:
    """A spike rate as a layer keeps it: one number, or a tuple of one per time step."""
    return tuple(rate) if isinstance(rate, Sequence) else rate


def taps_inside(
    outputs: int,
    size: int,
    kernel: int,
    stride: int = 1,
    padding: int | None = None,
    dilation: int = 1,
) -> int:
    """Pairs of an output and a tap of its kernel that are on the map, along one side.

    Args:
        outputs: Side of the output map.
        size: Side of the map.
        kernel: Taps of the kernel.
        stride: Distance between neighbouring outputs.
        padding: Zeros before the side; None: half of those that the sizes imply.
        dilation: Distance between neighbouring taps.

    Returns:
        The number of pairs; the other taps are on the padding.
    """
    if padding is None:
        padding = max(0, (outputs - 1) * stride + dilation * (kernel - 1) + 1 - size) // 2
    starts = [tap * dilation - padding for tap in range(kernel)]  # of the first output
    firsts = (max(0, -(start // stride)) for start in starts)
    lasts = (min(outputs, (size - 1 - start) // stride + 1) for start in starts)
    return sum(max(0, last - first) for first, last in zip(firsts, lasts, strict=True))


def synapses_of(
    matrix: int,
    outputs: Side,
    size: Side,
    kernel: Side,
    stride: Side,
    padding: Side,
    dilation: Side,
) -> int | None:
    """The `synapses` of a convolution; None where its other sizes imply them.

    Args:
        matrix: Weights of one tap, over all groups.
        outputs: Size of the output map, before any pooling.
        size: Size of the map that it reads.
        kernel: Taps of the kernel.
        stride: Distance between neighbouring outputs.
        padding: Zeros before each side of the map.
        dilation: Distance between neighbouring taps.

    Returns:
        Products of a weight and a pixel of the map in a time step, or None.
    """
    sides = [pair(x) for x in (outputs, size, kernel, stride, padding, dilation)]
    known, implied = (math.prod(map(taps_inside, *x)) for x in (sides, sides[:4]))
    return None if known == implied else matrix * known
