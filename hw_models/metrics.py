"""Metrics of a workload on a chip: one entry says how each is computed, shown and bounded.

Every metric is a function of totals in SI units. The totals are numbers for one workload, arrays
[N] for a batch of N workloads, and arrays [D] or [N, D] for D draws of the chip's figures.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Totals = Mapping[str, Any]  # by name: numbers, or arrays of one shape


@dataclass(frozen=True)
class HardwareMetric:
    """One metric, in the unit that people read."""

    value: Callable[[Totals], Any]
    unit: str = ""
    decimals: int = 3  # 0 for whole numbers, which are shown in full
    ideal: float | None = None  # best value, for a metric that is maximised
    has_interval: bool = False  # it moves with the figures of the chip, which have ranges
    grows_with_rate: bool = False  # a higher spike rate never makes it smaller
    counts_operations: bool = False  # it depends on how often a cell uses which operation alone
    chip_free: bool = False  # no chip changes it; a report of an earlier version may lack it


def _count(name: str, unit: str = "", **facts: Any) -> HardwareMetric:
    """A total of `count_operations`, which no chip changes."""
    return HardwareMetric(lambda t: t[name], unit, chip_free=True, **facts)


HARDWARE_METRICS: dict[str, HardwareMetric] = {
    "parameters": HardwareMetric(lambda t: t["parameters"], decimals=0, counts_operations=True),
    "memory_KiB": HardwareMetric(
        lambda t: t["memory_B"] / 1024, "KiB", decimals=2, counts_operations=True
    ),
    "area_mm2": HardwareMetric(
        lambda t: t["area_m2"] * 1e6, "mm2", decimals=2, has_interval=True, counts_operations=True
    ),
    "latency_ms": HardwareMetric(lambda t: t["latency_s"] * 1e3, "ms", has_interval=True),
    "energy_uJ": HardwareMetric(
        lambda t: t["energy_J"] * 1e6, "uJ", has_interval=True, grows_with_rate=True
    ),
    "energy_dense_uJ": HardwareMetric(lambda t: t["dense_energy_J"] * 1e6, "uJ", has_interval=True),
    "throughput_per_s": HardwareMetric(
        lambda t: 1 / t["interval_s"], "1/s", decimals=1, has_interval=True
    ),
    "power_mW": HardwareMetric(
        lambda t: t["energy_J"] / t["latency_s"] * 1e3,
        "mW",
        has_interval=True,
        grows_with_rate=True,
    ),
    "energy_delay_nJs": HardwareMetric(
        lambda t: t["energy_J"] * t["latency_s"] * 1e9,
        "nJ s",
        decimals=4,
        has_interval=True,
        grows_with_rate=True,
    ),
    "crossbars": HardwareMetric(lambda t: t["crossbars"], decimals=0, counts_operations=True),
    "processing_elements": HardwareMetric(lambda t: t["pes"], decimals=0, counts_operations=True),
    "tiles": HardwareMetric(lambda t: t["tiles"], decimals=0, counts_operations=True),
    "utilisation": HardwareMetric(lambda t: t["utilisation"], "share", ideal=1.0),
    **{
        name: _count(name, decimals=0, counts_operations=True)
        for name in ("dense_synaptic_operations", "dense_macs", "dense_acs")
    },
    "effective_acs": _count("effective_acs", decimals=1, grows_with_rate=True),
    "footprint_B": _count("footprint_B", "B", decimals=1, counts_operations=True),
}


def metrics_of(totals: Totals) -> dict[str, Any]:
    """Every metric by name, in the units that people read.

    Args:
        totals: Totals in SI units, by name: numbers, or arrays of one shape.

    Returns:
        Numbers, or arrays of the same shape.
    """
    return {
        name: metric.value(totals)
        for name, metric in HARDWARE_METRICS.items()
        if name in totals or not metric.chip_free
    }
