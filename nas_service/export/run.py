"""What a network, or an exported file of it, computes of B images in T time steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Run:
    """Scores, and what the layers of neurons did where it is shown."""

    scores: "Tensor"  # [B, classes]
    spikes: "Mapping[str, Tensor]" = field(default_factory=dict)  # [T, B, ...] by layer of neurons
    # before the reset, which decide these spikes; shown by `StepGraph.run` alone
    potentials: "Mapping[str, Tensor]" = field(default_factory=dict)
