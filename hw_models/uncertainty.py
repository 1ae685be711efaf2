"""How sure a cost is: ranges of a profile's figures become intervals of totals.

Every figure with a range is drawn from a triangle (low, value, high), independently of the
others. What happens on the chip stays the same, only prices move, so a thousand draws cost one
matrix product. The draws are the same for every workload: two candidates are compared under the
same chips.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hw_models.errors import ProfileError
from hw_models.profile import Profile
from hw_models.report import readable
from hw_models.rram import Chip
from hw_models.table import Array
from hw_models.workload import Workload

DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Ensemble:
    """One profile drawn `draws` times within its ranges."""

    profile: Profile
    draws: int = DRAWS
    seed: int = 0

    @cached_property
    def chips(self) -> tuple[Chip, ...]:
        die = np.random.default_rng(self.seed)
        drawn = {
            key: die.triangular(low, value, high, self.draws)
            if low < high
            else [value] * self.draws
            for key, (low, value, high) in self.profile.ranges.items()
        }
        return tuple(
            self.profile.chip_at({key: float(values[i]) for key, values in drawn.items()})
            for i in range(self.draws)
        )

    @cached_property
    def _energy_prices(self) -> dict[str, Array]:
        names = self.profile.chip.energy_prices
        return {name: np.array([c.energy_prices[name] for c in self.chips]) for name in names}

    @cached_property
    def _times(self) -> tuple[Array, Array]:
        """Read times and leakage densities [draws]."""
        leaks = [c.figures.leakage_W_m2 for c in self.chips]
        return np.array([c.read_s for c in self.chips]), np.array(leaks)

    def _area_prices(self, pe_crossbars: float) -> dict[str, Array]:
        prices = [c.area_prices(pe_crossbars) for c in self.chips]
        return {name: np.array([p[name] for p in prices]) for name in prices[0]}

    def metrics(self, workload: Workload) -> dict[str, Array]:
        """Every metric of a workload under each draw [draws], in the units a person reads."""
        d = self.profile.chip.demand(workload)
        reads, leaks = self._times
        area = _sum(d.areas, self._area_prices(d.pe_crossbars))
        latency = d.cycles * reads
        leak = leaks * area * latency
        totals = {
            **d.exact,
            "area_m2": area,
            "latency_s": latency,
            "interval_s": d.interval_cycles * reads,
            "energy_J": _sum(d.events, self._energy_prices) + leak,
            "dense_energy_J": _sum(d.dense_events, self._energy_prices) + leak,
        }
        return {name: np.broadcast_to(x, self.draws) for name, x in readable(totals).items()}

    def interval(self, workload: Workload, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Central interval of every metric that holds the share `level` of the draws."""
        _share(level, "level")
        ends = [(1 - level) / 2, (1 + level) / 2]
        return {
            name: tuple(np.quantile(values, ends).tolist())
            for name, values in self.metrics(workload).items()
        }

    def probability(self, workload: Workload, metric: str, at_most: float) -> float:
        """Share of the draws in which the metric is at most so much."""
        return float((self.metrics(workload)[metric] <= at_most).mean())

    def bound(self, workload: Workload, metric: str, confidence: float) -> float:
        """The value that the metric stays below with this confidence."""
        _share(confidence, "confidence")
        return float(np.quantile(self.metrics(workload)[metric], confidence))


def _sum(counts: dict[str, float], prices: dict[str, Array]) -> Any:
    return sum(n * prices[name] for name, n in counts.items())


def _share(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise ProfileError(f"{name} = {value!r:.60}: a share between 0 and 1 is needed")
