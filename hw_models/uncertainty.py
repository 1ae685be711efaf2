"""How sure a cost is: ranges of a profile's figures become intervals of totals.

Every figure with a range is drawn from a triangle (low, value, high), independently of the
others. What happens on the chip stays the same, only prices move, so a thousand draws cost one
matrix product. The draws are the same for every workload: two candidates are compared under the
same chips.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from hw_models.cost_model import Chip, ResourceUse
from hw_models.errors import ProfileError
from hw_models.layer_table import Array, LayerTable
from hw_models.profile import Profile
from hw_models.report import readable
from hw_models.workload import Workload

DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Ensemble:
    """One profile drawn `draws` times within its ranges."""

    profile: Profile
    draws: int = DRAWS
    seed: int = 0
    _known_areas: dict[float, dict[str, Array]] = field(default_factory=dict, repr=False)

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
        if pe_crossbars not in self._known_areas:
            prices = [c.area_prices(pe_crossbars) for c in self.chips]
            found = {name: np.array([p[name] for p in prices]) for name in prices[0]}
            self._known_areas[pe_crossbars] = found
        return self._known_areas[pe_crossbars]

    def metrics(self, workload: Workload) -> dict[str, Array]:
        """Every metric of a workload under each draw [draws], in the units a person reads."""
        d = self.profile.chip.demand(workload)
        found = self._priced(d, _sum(d.areas, self._area_prices(float(d.pe_crossbars))))
        return {name: np.broadcast_to(x, self.draws) for name, x in found.items()}

    def metrics_batch(self, table: LayerTable) -> dict[str, Array]:
        """The same of N workloads [N, draws]."""
        d = _in_rows(self.profile.chip.demands(table))
        area, crossbars = np.empty((len(table), self.draws)), np.ravel(d.pe_crossbars)
        for each in np.unique(crossbars).tolist():
            these = np.broadcast_to(crossbars == each, len(table))
            counts = {name: n[these] for name, n in d.areas.items()}
            area[these] = _sum(counts, self._area_prices(each))
        found = self._priced(d, area)
        return {name: np.broadcast_to(x, area.shape) for name, x in found.items()}

    def _priced(self, d: ResourceUse, area: Array) -> dict[str, Array]:
        reads, leaks = self._times
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
        return readable(totals)

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


def _in_rows(d: ResourceUse) -> ResourceUse:
    """Figures of N workloads as [N, 1], which go with prices [draws]."""
    parts = ("dense_events", "events", "areas", "exact")
    tables = {part: {k: n[:, None] for k, n in getattr(d, part).items()} for part in parts}
    spans = {"cycles": d.cycles[:, None], "interval_cycles": d.interval_cycles[:, None]}
    return replace(d, **tables, **spans)


def _sum(counts: dict[str, Any], prices: dict[str, Array]) -> Any:
    """Counts [C] or [C, N, 1] times prices [C, draws], summed over components."""
    first = next(iter(counts.values()))
    if np.ndim(first) < 2:
        return sum(n * prices[name] for name, n in counts.items())
    return np.concatenate(list(counts.values()), -1) @ np.stack([prices[n] for n in counts])


def _share(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise ProfileError(f"{name} = {value!r:.60}: a share between 0 and 1 is needed")
