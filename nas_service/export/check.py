"""An exported file run beside the network that it was made of."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from nas_service.export.formats import Module
from nas_service.export.run import Run
from nas_service.export.step_graph import StepGraph
from nas_service.export.trained_network import TrainedNetwork
from nas_service.snn.neurons import Neuron

AT_ONCE = 32  # images whose spikes are in memory at a time
ROUNDING = 1e-5  # a potential this far from its threshold or farther is no matter of rounding


@dataclass(frozen=True)
class Comparison:
    """How far an exported file differs from the network, on some images."""

    images: int
    largest_difference: float  # of a class score
    predictions: int  # that differ
    spikes: int | None  # that differ, of all layers and steps; None where they are not shown
    # largest distance of a potential from its threshold where spikes of an image differ first;
    # later ones may follow from these
    threshold_distance: float | None
    spike_rate: float  # of the network, share of neurons and steps, 0..1

    @property
    def equal(self) -> bool:
        """True where the predictions are the same, spikes are but for rounding, and some fire."""
        rounding = self.threshold_distance is None or self.threshold_distance < ROUNDING
        return not self.predictions and rounding and self.spike_rate > 0

    def __str__(self) -> str:
        return (
            f"{self.images} images: {self.predictions} predictions differ, largest difference of "
            f"a score {self.largest_difference:.2g}; spikes: {self._spikes()}, "
            f"rate {self.spike_rate:.3g}"
        )

    def _spikes(self) -> str:
        if self.spikes is None:
            return "not shown by this format"
        if not self.spikes:
            return "0 differ"
        return (
            f"{self.spikes} differ, the first within {self.threshold_distance:.2g} of a threshold"
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
    parts = [_compared(network, module, path, part) for part in pixels.split(AT_ONCE)]
    shown = None not in [part.spikes for part in parts]
    return Comparison(
        len(pixels),
        _largest([part.largest_difference for part in parts]),
        sum(part.predictions for part in parts),
        sum(part.spikes or 0 for part in parts) if shown else None,
        _largest([part.threshold_distance or 0.0 for part in parts]) if shown else None,
        sum(part.spike_rate * part.images for part in parts) / len(pixels),
    )


def _largest(values: Sequence[float]) -> float:
    """The largest value, or NaN where one is NaN."""
    return float(torch.tensor(values, dtype=torch.float64).max())


def _compared(network: TrainedNetwork, module: Module, path: Path, pixels: Tensor) -> Comparison:
    with torch.no_grad():
        ours = network.graph.run(network.inputs.scaled(pixels))
    run = module.run(path, pixels)
    return Comparison(
        len(pixels),
        float((ours.scores - run.scores).abs().max()),
        int((ours.scores.argmax(1) != run.scores.argmax(1)).sum()),
        sum(_differing(ours, run)) if run.spikes else None,
        _largest([0.0, *_first_distances(network.graph, ours, run)]) if run.spikes else None,
        _rate(ours),
    )


def _rate(run: Run) -> float:
    fired = sum(float(x.sum()) for x in run.spikes.values())
    return fired / sum(x.numel() for x in run.spikes.values())


def _differing(ours: Run, theirs: Run) -> Iterator[int]:
    for name, spikes in theirs.spikes.items():
        yield int((ours.spikes[name] != spikes).sum())


def _first_distances(graph: StepGraph, ours: Run, theirs: Run) -> Iterator[float]:
    """Distances from the threshold where an image's spikes differ first: in time, then by layer.

    Layers are in the order in which they run, so nothing that these neurons read differs.
    """
    layers = [node for node in graph.neurons if node.name in theirs.spikes]
    equal_so_far = torch.ones(len(ours.scores), dtype=torch.bool)
    for t in range(graph.time_steps):
        for node in layers:
            differs = (ours.spikes[node.name][t] != theirs.spikes[node.name][t]).flatten(1)
            threshold = cast(Neuron, node.neuron).threshold
            distance = (ours.potentials[node.name][t].flatten(1) - threshold).abs()
            first = differs & equal_so_far[:, None]
            if first.any():
                yield float(distance[first].max())
            equal_so_far &= ~differs.any(1)
