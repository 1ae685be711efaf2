"""Evaluations of candidates, and the metrics that a study can optimise or bound."""

import itertools
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

from hw_models import HARDWARE_METRICS, HardwareMetric, HardwareReport
from nas_service.errors import SpecError
from nas_service.spaces.architecture import Architecture

Outcome = Literal["screened", "rejected", "trained", "scored", "diverged"]
"""screened: to be trained or scored; rejected: not to be; scored: measured without a training."""
OUTCOMES: tuple[Outcome, ...] = ("screened", "rejected", "trained", "scored", "diverged")
MEASURED = ("trained", "scored")  # outcomes with all metrics that the study asks for

SHARE = "share"  # unit of metrics between 0 and 1
PROXY = "proxy_"  # before the name of a proxy in the name of its metric
WORST_PROXY = -1e6  # below every score: of a candidate that has none
WORST_COUNT = 1e15  # above every count: of a report of an earlier version, which has none
COUNTED_SHARES = ("activation_sparsity", "connection_sparsity")
COUNTED = ("effective_macs", "effective_acs", "membrane_updates", *COUNTED_SHARES)


@dataclass(frozen=True)
class Proxy:
    """A training-free score of a network, higher is better; its metric is `proxy_NAME`."""

    function: str | Callable[..., Any]  # or module:function in nas_service.snn.proxies, with torch
    source: str
    structural: bool = False  # a function of a cell's edges, not of a network and images


PROXIES: dict[str, Proxy] = {
    "convolutions": Proxy("structure:convolutions", "convolutions of all cells", structural=True),
    "depth": Proxy(
        "structure:depth", "convolutions on the longest path of each cell", structural=True
    ),
    "hamming": Proxy("kernels:hamming", "Mellor et al., ICML 2021, on spikes"),
    "sahd": Proxy("kernels:sahd", "Kim et al., ECCV 2022, alpha 0.5"),
    "sahd_n": Proxy("kernels:sahd_n", "Kim et al., ECCV 2022, alpha half the number of neurons"),
    "threshold_depth": Proxy(
        "structure:threshold_depth",
        "chosen on half of the functions in SpikeNAS-Bench's CIFAR-10 table, judged on the other",
        structural=True,
    ),
}

Rate = float | tuple[float, ...]  # of a layer's inputs: over all time steps, or in each


@dataclass(frozen=True)
class Evaluation:
    """One candidate: screened, rejected before it was trained, or measured once."""

    architecture: Architecture
    outcome: Outcome
    hardware: HardwareReport  # at the measured spike rates if trained, else at the assumed one
    chance: float  # accuracy of a guess, 0..1
    seed: int
    fidelity: int = 0  # epochs trained
    accuracy: float | None = None  # on validation images, 0..1; None unless trained
    spike_rates: dict[str, Rate] = field(default_factory=dict)  # per layer, share of inputs
    spike_rate: float | None = None  # share of neurons that fire in a time step
    on_chip: tuple[float, ...] = ()  # validation accuracy on each simulated, imperfect chip
    counted: dict[str, float] = field(default_factory=dict)  # metrics of COUNTED, on images
    bounds: dict[str, float] = field(default_factory=dict)  # metrics at a confidence, by name
    proxies: dict[str, float] = field(default_factory=dict)  # training-free scores, by name
    curve: tuple[tuple[int, float], ...] = ()  # epochs and the accuracies after them
    inherited: float = 0.0  # share of its parameters that started as another candidate's
    seconds: float = 0.0  # of training and scoring, wall clock
    reason: str = ""  # why it was not trained, or what went wrong
    rejected_by: tuple[str, ...] = ()  # the checks that it failed, see `Rejection`
    repair: dict[str, int | str] = field(default_factory=dict)  # parameters within all budgets
    versions: dict[str, str] = field(default_factory=dict)

    @cached_property
    def hardware_metrics(self) -> dict[str, float]:
        """Metrics of the hardware report, by name."""
        return self.hardware.metrics()

    @property
    def rejected(self) -> bool:
        """True for a candidate that a check before its training rules out."""
        return self.outcome == "rejected"

    @property
    def trained(self) -> bool:
        """True for a candidate that was trained and measured."""
        return self.outcome == "trained"

    @property
    def measured(self) -> bool:
        """True where every metric that the study asks for is measured."""
        return self.outcome in MEASURED

    def reject(self, reason: str, checks: tuple[str, ...]) -> "Evaluation":
        """The candidate as rejected, for a reason and by the checks that it failed."""
        return replace(self, outcome="rejected", reason=reason, rejected_by=checks)

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        flat = {f.name: getattr(self, f.name) for f in fields(self)}
        return flat | {
            "architecture": self.architecture.to_json(),
            "hardware": self.hardware.to_json(),
        }

    @classmethod
    def from_json(cls, data: Any) -> "Evaluation":
        """The inverse of `to_json`.

        Raises:
            SpecError: The data are not those of an evaluation.
        """
        try:
            values = dict(data)
            values["architecture"] = Architecture.from_json(values["architecture"])
            values["hardware"] = HardwareReport.from_json(values["hardware"])
            values["spike_rates"] = rates_from_json(values.get("spike_rates", {}))
            values["on_chip"] = tuple(values.get("on_chip", ()))
            values["rejected_by"] = tuple(values.get("rejected_by", ()))
            values["curve"] = tuple((int(n), a) for n, a in values.get("curve", ()))
            evaluation = cls(**values)
            _check(evaluation)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise SpecError(f"stored evaluation is damaged: {error}") from error
        return evaluation


def rates_from_json(stored: Any) -> dict[str, Rate]:
    """Stored spike rates by layer.

    Raises:
        ValueError: They are no shares 0..1.
        AttributeError: They are no table.
    """
    rates = {n: tuple(r) if isinstance(r, list | tuple) else r for n, r in stored.items()}
    shares = itertools.chain(*map(_steps, rates.values()))
    if not all(type(x) in (float, int) and 0 <= x <= 1 for x in shares):
        raise ValueError("spike rates are shares, 0..1")
    return rates


def _steps(rate: Rate) -> tuple[float, ...]:
    return rate if isinstance(rate, tuple) else (rate,)


def _check(e: Evaluation) -> None:
    if e.outcome not in OUTCOMES:
        raise ValueError(f"outcome {e.outcome!r} is none of {OUTCOMES}")
    shares = [e.chance, *e.on_chip, *itertools.chain(*map(_steps, e.spike_rates.values()))]
    shares += [x for x in (e.accuracy, e.spike_rate) if x is not None]
    shares += [e.inherited, *(share for _, share in e.curve)]
    shares += [e.counted[name] for name in COUNTED_SHARES if name in e.counted]
    if not all(isinstance(x, float | int) and 0 <= x <= 1 for x in shares):
        raise ValueError("accuracy, chance and spike rates are shares, 0..1")
    if e.trained and (e.accuracy is None or e.spike_rate is None):
        raise ValueError("a trained candidate has an accuracy and a spike rate")
    if unknown := sorted(e.counted.keys() - set(COUNTED)):
        raise ValueError(f"counted: {unknown[0]!r:.60} is none of {COUNTED}")
    if not all(isinstance(x, float | int) and 0 <= x < math.inf for x in e.counted.values()):
        raise ValueError("counted metrics are numbers >= 0")
    numbers = (*e.bounds.values(), *e.proxies.values())
    if not all(isinstance(x, float | int) and math.isfinite(x) for x in numbers):
        raise ValueError("bounds and proxies are finite numbers")


@dataclass(frozen=True)
class Metric:
    """A number that a study can optimise or bound, in the unit that people read."""

    value: Callable[[Evaluation], float | None]  # None while it is not measured
    unit: str
    fallback: Callable[[Evaluation], float]  # finite and pessimistic, used while not measured
    ideal: float | None = None  # the best value when maximised; the best of a minimised one is 0
    decimals: int = 3  # 0 for whole numbers, which are shown in full
    trained: bool = False  # True where only a training can measure it
    simulated: bool = False  # measured on simulated chips
    of_chip: bool = False  # beside costs: another chip gives another value
    proxy: str = ""  # name of the training-free score that it is
    has_interval: bool = False  # it can be bounded at a confidence
    grows_with_rate: bool = False  # a higher spike rate never makes it smaller
    counts_operations: bool = False  # it depends on how often a cell uses which operation alone

    @property
    def costed(self) -> bool:
        """True where the architecture and the assumed spike rate are enough to know it."""
        return not self.trained and not self.proxy

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest value that it can have."""
        return (-math.inf if self.proxy else 0.0, 1.0 if self.unit == SHARE else math.inf)

    @property
    def described_range(self) -> str:
        """Unit and range, for messages."""
        if self.unit == SHARE:
            return "a share, 0..1"
        if self.proxy:
            return "a score, any number"
        return f"in {self.unit}, 0 or more" if self.unit else "a number, 0 or more"

    @property
    def whole(self) -> bool:
        """True for counts, whose sums are exact in any order."""
        return self.decimals == 0


def proxy_metric(name: str) -> Metric:
    """The metric that is a candidate's score by a proxy."""
    return Metric(lambda e: e.proxies.get(name), "", lambda e: WORST_PROXY, proxy=name)


def hardware_metric(name: str, metric: HardwareMetric) -> Metric:
    """The metric of an evaluation that its hardware report holds.

    Args:
        name: Name of the metric in the report.
        metric: Its unit and the other facts that the cost model knows of it.

    Returns:
        The metric, which reads its value from an evaluation.
    """

    def value(e: Evaluation) -> float | None:
        return e.counted.get(name, e.hardware_metrics.get(name))

    def fallback(e: Evaluation) -> float:
        return e.hardware_metrics.get(name, WORST_COUNT)

    return Metric(
        value,
        metric.unit,
        fallback,
        metric.ideal,
        metric.decimals,
        has_interval=metric.has_interval,
        grows_with_rate=metric.grows_with_rate,
        counts_operations=metric.counts_operations,
    )


def _counted(name: str, fallback: Callable[[Evaluation], float], **facts: Any) -> Metric:
    """A metric of COUNTED that only a training can measure."""
    return Metric(lambda e: e.counted.get(name), fallback=fallback, trained=True, **facts)


def _operation(name: str) -> Callable[[Evaluation], float]:
    """A total of the hardware report that is at least the count of a trained network."""
    return lambda e: e.hardware.operations.get(name, WORST_COUNT)


def _on_chip(e: Evaluation) -> float | None:
    """Mean over the simulated chips."""
    return statistics.fmean(e.on_chip) if e.on_chip else None


def _on_chip_spread(e: Evaluation) -> float | None:
    """Standard deviation over the simulated chips; one chip alone has none."""
    return statistics.stdev(e.on_chip) if len(e.on_chip) > 1 else None


METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        lambda e: e.accuracy, SHARE, lambda e: e.chance, ideal=1.0, decimals=4, trained=True
    ),
    "accuracy_on_chip": Metric(
        _on_chip,
        SHARE,
        lambda e: e.chance,
        ideal=1.0,
        decimals=4,
        trained=True,
        simulated=True,
    ),
    "accuracy_on_chip_spread": Metric(
        _on_chip_spread, SHARE, lambda e: 1.0, decimals=4, trained=True, simulated=True
    ),
    "spike_rate": Metric(
        lambda e: e.spike_rate, SHARE, lambda e: 1.0, ideal=1.0, decimals=4, trained=True
    ),
    "epochs": Metric(
        lambda e: e.fidelity if e.trained else None, "", lambda e: 0.0, decimals=0, trained=True
    ),
    **{name: hardware_metric(name, metric) for name, metric in HARDWARE_METRICS.items()},
    "effective_macs": _counted("effective_macs", _operation("dense_macs"), unit="", decimals=1),
    "membrane_updates": _counted(
        "membrane_updates", _operation("dense_membrane_updates"), unit="", decimals=1
    ),
    **{
        name: _counted(name, lambda e: 0.0, unit=SHARE, ideal=1.0, decimals=4)
        for name in COUNTED_SHARES
    },
    **{PROXY + name: proxy_metric(name) for name in PROXIES},
}
CONFIDENCE = "@"  # between a metric and the confidence of its bound


def at_confidence(name: str, confidence: float) -> str:
    """Name of the bound of a metric at a confidence: `metric@confidence`.

    Args:
        name: Name of the metric.
        confidence: Probability that the bound holds, between 0 and 1.

    Returns:
        The name.
    """
    return f"{name}{CONFIDENCE}{confidence:g}"


def metric_of(measure: str) -> Metric:
    """The metric that a name belongs to, also where it is the name of a bound."""
    return METRICS[measure.partition(CONFIDENCE)[0]]


def check_range(name: str, values: Mapping[str, float | None]) -> None:
    """Checks values that somebody gives for a metric.

    Args:
        name: Name of the metric.
        values: The values by the name of their key; None for a key that is not given.

    Raises:
        ValueError: A value is out of the metric's range. The message names key, unit and range.
    """
    metric = METRICS[name]
    low, high = metric.range
    for key, value in values.items():
        if value is not None and not low <= value <= high:
            raise ValueError(
                f"{key} = {value:g}: {name} is {metric.described_range}{percent_hint(value)}"
            )


def percent_hint(value: float) -> str:
    """The share that may be meant by a number above 1, as a question; empty for any other."""
    return f": {value / 100:g}?" if 1 < value <= 100 else ""


def measure(evaluation: Evaluation) -> dict[str, float]:
    """Every metric that is known of the candidate, by name; bounds as `metric@confidence`."""
    known = ((name, metric.value(evaluation)) for name, metric in METRICS.items())
    return {name: value for name, value in known if value is not None} | evaluation.bounds


def values_with_fallbacks(evaluation: Evaluation) -> dict[str, float]:
    """Every metric by name, finite: its fallback where it is not measured.

    Raises:
        ValueError: A value is not finite.
    """
    fallbacks = {name: metric.fallback(evaluation) for name, metric in METRICS.items()}
    values = fallbacks | measure(evaluation)
    if bad := [name for name, value in values.items() if not math.isfinite(value)]:
        raise ValueError(f"{bad} not finite in {asdict(evaluation.architecture)}")
    return values
