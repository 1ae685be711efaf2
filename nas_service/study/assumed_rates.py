"""The spike rates that candidates are costed at before a training gives theirs."""

from dataclasses import dataclass

import numpy as np

from hw_models import LayerIndex, Workload
from hw_models.assumption import Assumption
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.spec import StudySpec

STEM = 0  # position of the layer that reads the input
SAYS_DENSITY = "--data"
SAYS_RATE = "hardware.assumed_rate of the study"


@dataclass(frozen=True)
class AssumedRates:
    """One rate for all spikes inside of a network, and the density of its input's bits."""

    inside: float
    density: InputDensity = ASSUMED
    says_inside: str = SAYS_RATE  # where the rate inside can be said

    @classmethod
    def of(cls, spec: StudySpec, density: InputDensity | None = None) -> "AssumedRates":
        """The rates of a study.

        Args:
            spec: The study.
            density: Of its data; None where it is not known: every bit is assumed to be set.

        Returns:
            The rates.
        """
        return cls(spec.hardware.assumed_rate, ASSUMED if density is None else density)

    def of_workload(self, workload: Workload) -> Workload:
        """The same layers at these rates."""
        first, *others = (layer.name for layer in workload.layers)
        density = float(self.density.at(workload.time_steps))
        return workload.with_spike_rates({first: density} | dict.fromkeys(others, self.inside))

    def of_candidates(self, layers: LayerIndex) -> LayerIndex:
        """The same layers of many candidates of a space at these rates."""
        distinct = layers.distinct
        rates = np.full(len(distinct), self.inside)
        first = np.unique(layers.which[:, STEM])  # no other layer is one of these
        rates[first] = self.density.at(distinct.time_steps[first])
        return layers.with_rates(rates)

    def assumptions(self, workload: Workload) -> tuple[Assumption, ...]:
        """What of these rates was not measured, by the layers of a workload."""
        first, *others = (layer.name for layer in workload.layers)
        inside = Assumption("spike_rate", self.inside, tuple(others), self.says_inside)
        if self.density.measured:
            return (inside,)
        return (Assumption("spike_rate", self.density.share, (first,), SAYS_DENSITY), inside)
