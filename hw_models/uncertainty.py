"""How sure a cost is: ranges of a profile's figures become intervals of totals.

Every figure with a range is drawn from a triangle (low, value, high), independently of the
others. The events on the chip stay the same, only prices move, so a thousand draws cost one
matrix product. The draws are the same for every workload: two candidates are compared on the
same chips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from hw_models.area import area_prices
from hw_models.chip import Chip
from hw_models.cost_model import batch_resource_use, price, resource_use
from hw_models.errors import ProfileError
from hw_models.layer_table import Array, LayerTable
from hw_models.metrics import metrics_of
from hw_models.prices import Prices, prices_of, weighted_sum
from hw_models.profile import Profile
from hw_models.workload import Workload

DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Chips drawn from one profile within the ranges of its figures.

    Args:
        profile: The chip; a figure without a range is the same in every draw.
        draws: How many chips.
        seed: Of the random draws.
    """

    profile: Profile
    draws: int = DRAWS
    seed: int = 0
    _known_areas: dict[float, dict[str, Array]] = field(default_factory=dict, repr=False)

    @cached_property
    def chips(self) -> tuple[Chip, ...]:
        """The drawn chips."""
        rng = np.random.default_rng(self.seed)
        columns = {
            key: rng.triangular(low, value, high, self.draws)
            if low < high
            else [value] * self.draws
            for key, (low, value, high) in self.profile.ranges.items()
        }
        return tuple(
            self.profile.chip_at({key: float(values[i]) for key, values in columns.items()})
            for i in range(self.draws)
        )

    def metrics(self, workload: Workload) -> dict[str, Array]:
        """Every metric of one workload on each drawn chip.

        Args:
            workload: The layers of a network.

        Returns:
            metric -> [draws], in the units a person reads.
        """
        use = resource_use(self.profile.chip, workload)
        area_prices = self._area_prices(float(use.pe_crossbars))
        area_m2 = weighted_sum(use.areas, area_prices)
        metrics = metrics_of(price(use, area_m2, self._prices))
        return {name: np.broadcast_to(x, self.draws) for name, x in metrics.items()}

    def metrics_batch(self, table: LayerTable) -> dict[str, Array]:
        """Every metric of N workloads on each drawn chip.

        Args:
            table: The workloads as arrays [N, L].

        Returns:
            metric -> [N, draws], in the units a person reads.
        """
        use = batch_resource_use(self.profile.chip, table).as_columns()
        shape, pe_crossbars = (len(table), self.draws), np.ravel(use.pe_crossbars)
        area_m2 = np.empty(shape)
        for number in np.unique(pe_crossbars).tolist():
            rows = np.broadcast_to(pe_crossbars == number, len(table))
            counts = {name: n[rows] for name, n in use.areas.items()}
            area_m2[rows] = weighted_sum(counts, self._area_prices(number))
        metrics = metrics_of(price(use, area_m2, self._prices))
        return {name: np.broadcast_to(x, shape) for name, x in metrics.items()}

    def interval(self, workload: Workload, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Central interval of every metric that holds the share `level` of the draws.

        Args:
            workload: The layers of a network.
            level: Share of the draws, between 0 and 1.

        Returns:
            metric -> (lower end, upper end), in the units a person reads.

        Raises:
            ProfileError: `level` is not between 0 and 1.
        """
        _check_share(level, "level")
        ends = [(1 - level) / 2, (1 + level) / 2]
        return {
            name: tuple(np.quantile(values, ends).tolist())
            for name, values in self.metrics(workload).items()
        }

    def probability(self, workload: Workload, metric: str, at_most: float) -> float:
        """The probability that a metric keeps a budget.

        Args:
            workload: The layers of a network.
            metric: Name of the metric.
            at_most: The budget, in the unit a person reads.

        Returns:
            Share of the draws in which the metric is at most the budget, 0..1.
        """
        return float((self.metrics(workload)[metric] <= at_most).mean())

    def bound(self, workload: Workload, metric: str, confidence: float) -> float:
        """The value that a metric stays below with this confidence.

        Args:
            workload: The layers of a network.
            metric: Name of the metric.
            confidence: Share of the draws in which the metric is at most the bound.

        Returns:
            The bound, in the unit a person reads.

        Raises:
            ProfileError: `confidence` is not between 0 and 1.
        """
        _check_share(confidence, "confidence")
        return float(np.quantile(self.metrics(workload)[metric], confidence))

    @cached_property
    def _prices(self) -> Prices:
        """Prices of the drawn chips, each an array [draws]."""
        drawn = [prices_of(chip) for chip in self.chips]
        return Prices(
            _columns([prices.energies_J for prices in drawn]),
            np.array([prices.read_s for prices in drawn]),
            np.array([prices.leakage_W_m2 for prices in drawn]),
        )

    def _area_prices(self, pe_crossbars: float) -> dict[str, Array]:
        if pe_crossbars not in self._known_areas:
            prices = _columns([area_prices(chip, pe_crossbars) for chip in self.chips])
            self._known_areas[pe_crossbars] = prices
        return self._known_areas[pe_crossbars]


def _columns(prices: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """One array [draws] per name."""
    return {name: np.array([row[name] for row in prices]) for name in prices[0]}


def _check_share(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise ProfileError(f"{name} = {value!r:.60}: a share between 0 and 1 is needed")
