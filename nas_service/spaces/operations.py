"""Operations a cell's edge can carry, as data: what they are called and what they preserve."""

from dataclasses import dataclass
from typing import Literal

from nas_service.errors import SpecError, pick

Kind = Literal["zero", "skip", "conv", "separable", "avgpool", "maxpool"]
BACK = "back:"  # in front of an operation: from the later node to the earlier, a time step late


@dataclass(frozen=True)
class Operation:
    """One operation on an edge.

    `conv` stands for LIF, convolution, batch norm in this order; `separable` for the same twice,
    depthwise and then across channels (1x1), so that both matrices read spikes.
    """

    kind: Kind
    kernel: int = 1
    threshold: float | None = None  # of its neurons; None: that of the whole network

    @property
    def matrices(self) -> tuple[str, ...]:
        """Its weight matrices, as what follows the edge's name; one has no name of its own."""
        return {"conv": ("",), "separable": (".depthwise", ".pointwise")}.get(self.kind, ())

    @property
    def weighted(self) -> bool:
        """True where two uses of the operation hold different weights."""
        return bool(self.matrices)

    @property
    def linear(self) -> bool:
        """True where op(a + b) = op(a) + op(b), so that sums may be pulled out of it."""
        return self.kind == "avgpool"


OPERATIONS = {
    "zeroize": Operation("zero"),
    "skip": Operation("skip"),
    "conv1x1": Operation("conv", 1),
    "conv3x3": Operation("conv", 3),
    "conv5x5": Operation("conv", 5),
    "sepconv3x3": Operation("separable", 3),
    "conv3x3_th0.5": Operation("conv", 3, threshold=0.5),
    "conv3x3_th1": Operation("conv", 3, threshold=1.0),
    "conv3x3_th1.5": Operation("conv", 3, threshold=1.5),
    "avgpool3x3": Operation("avgpool", 3),
    "maxpool3x3": Operation("maxpool", 3),
}

# The order is the digit of a preset's text form: SNASNet writes zeroize as 0, skip as 1, ...
PRESETS: dict[str, tuple[str, ...]] = {
    "snasnet5": ("zeroize", "skip", "conv1x1", "conv3x3", "avgpool3x3"),  # Kim et al., ECCV 2022
    "light3": ("zeroize", "skip", "conv3x3"),  # LightSNN: spikes stay binary
    # ours, what helps or does not hurt in our own ablation (docs/spaces.md)
    "neuronas": (
        "zeroize",
        "skip",
        "conv1x1",
        "conv3x3",
        "conv5x5",
        "avgpool3x3",
        "maxpool3x3",
    ),
    # SpikeNAS-Bench (IEEE TAI 2025): the threshold is searched
    "bench-threshold": ("zeroize", "skip", "conv3x3_th0.5", "conv3x3_th1", "conv3x3_th1.5"),
}


def operations_of(choice: str | tuple[str, ...]) -> tuple[str, ...]:
    """Names of a preset, or the given names checked: known, distinct, at least two."""
    if isinstance(choice, str):
        return pick(PRESETS, choice, "operation preset")
    for name in choice:
        pick(OPERATIONS, name, "operation")
    if len(set(choice)) != len(choice) or len(choice) < 2:
        raise SpecError(f"operations {list(choice)}: at least two different names are needed")
    return choice


def operation(state: str) -> Operation:
    """What an edge carries, in either direction; raises SpecError on unknown names."""
    return pick(OPERATIONS, state.removeprefix(BACK), "operation")


def states_of(names: tuple[str, ...], backward: bool) -> tuple[str, ...]:
    """What a pair of nodes can carry: the operations, and with `backward` each the other way."""
    other = (BACK + name for name in names if OPERATIONS[name].kind != "zero")
    return (*names, *other) if backward else names
