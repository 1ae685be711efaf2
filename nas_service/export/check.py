"""An exported file run beside the network that it was made of."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas_service.export.formats import Module
from nas_service.export.trained_network import TrainedNetwork


@dataclass(frozen=True)
class Comparison:
    """How far an exported file differs from the network, on some images."""

    images: int
    largest_difference: float  # of a class score
    predictions: int  # that differ
    spikes: int | None  # that differ, of all layers and steps; None where they are not shown
    spike_rate: float  # of the network, share of neurons and steps, 0..1

    @property
    def equal(self) -> bool:
        """True where all predictions are the same and the network fires."""
        return not self.predictions and self.spike_rate > 0

    def __str__(self) -> str:
        spikes = "not shown by this format" if self.spikes is None else f"{self.spikes} differ"
        return (
            f"{self.images} images: {self.predictions} predictions differ, largest difference of "
            f"a score {self.largest_difference:.2g}; spikes: {spikes}, rate {self.spike_rate:.3g}"
        )

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self) | {"equal": self.equal}


def compare(network: TrainedNetwork, module: Module, path: Path, pixels: Tensor) -> Comparison:
    """Runs an exported file and the network on the same images.

    Args:
        network: The network.
        module: The format of the file.
        path: The first of the files that were written.
        pixels: Raw pixels [B, ...].

    Returns:
        How far they differ.
    """
    ours: dict[str, list[Tensor]] = {node.name: [] for node in network.graph.neurons}

    def keep(values: Mapping[str, Tensor]) -> None:
        for name, steps in ours.items():
            steps.append(values[name])

    with torch.no_grad():
        scores = network.graph.scores(network.inputs.scaled(pixels), keep)
    run = module.run(path, pixels)
    spikes = {name: torch.stack(steps) for name, steps in ours.items()}
    fired = sum(float(x.sum()) for x in spikes.values())
    return Comparison(
        len(pixels),
        float((scores - run.scores).abs().max()),
        int((scores.argmax(1) != run.scores.argmax(1)).sum()),
        sum(_differing(spikes, run.spikes)) if run.spikes else None,
        fired / sum(x.numel() for x in spikes.values()),
    )


def _differing(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Iterator[int]:
    for name, spikes in theirs.items():
        yield int((ours[name] != spikes).sum())
