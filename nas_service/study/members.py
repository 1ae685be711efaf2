"""The kinds of members that a plug-in can add: the table of each, and which a study uses."""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from hw_models.profile_file import CHIPS
from nas_service.metrics import Metric, Proxy
from nas_service.spaces.operations import Matrix, Operation, operations_of
from nas_service.study import member_checks as checks
from nas_service.study.spec import StudySpec

FUNCTIONS = ("value", "fallback")  # of a metric, which no study records


@dataclass(frozen=True)
class Kind:
    """One kind of member."""

    word: str  # for messages, and in what a study records
    place: str  # module:table; the module is imported when the table is needed
    check: Callable[[str, Any], None]  # of name and entry; raises SpecError
    named: Callable[[StudySpec], Iterable[str]]  # names of members that a study uses
    facts: Callable[[Any], Any] = lambda entry: None  # JSON, enough to read results
    from_facts: Callable[[Any], Any] | None = None  # an entry that is enough to read results

    @property
    def table(self) -> dict[str, Any]:
        """The table that members of this kind are in."""
        module, _, name = self.place.partition(":")
        table: dict[str, Any] = getattr(importlib.import_module(module), name)
        return table


def _operation_of(facts: Any) -> Operation:
    matrices = tuple(Matrix(**matrix) for matrix in facts["matrices"])
    operation = Operation(**{**facts, "matrices": matrices})
    checks.check_operation("", operation)
    return operation


def _preset_of(facts: Any) -> tuple[str, ...]:
    checks.check_preset("", tuple(facts))
    return tuple(facts)


def _metric_facts(metric: Metric) -> Any:
    return {key: value for key, value in vars(metric).items() if key not in FUNCTIONS}


def _metric_of(facts: Any) -> Metric:
    """A metric that measures nothing: of results that are stored."""
    metric = Metric(value=lambda e: None, fallback=lambda e: 0.0, **facts)
    checks.check_facts(metric)
    return metric


def _proxy_of(facts: Any) -> Proxy:
    """A proxy that scores nothing: of results that are stored."""
    proxy = Proxy(function="", **facts)
    checks.check_proxy_facts(proxy)
    return proxy


def _metrics(spec: StudySpec) -> Iterable[str]:
    return [*spec.metrics, *(spec.search.constraint_order or ())]


def _preset(spec: StudySpec) -> Iterable[str]:
    return [spec.space.operations] if isinstance(spec.space.operations, str) else []


def _chips(spec: StudySpec) -> Iterable[str]:
    """The study's chip, and those that it is based on."""
    name: Any = spec.hardware.profile
    known: list[str] = []
    while name in CHIPS and name not in known:
        known.append(name)
        name = CHIPS[name].get("base")
    return known


# In this order: a preset names operations, and metrics follow from those before them.
KINDS = (
    Kind(
        "operation",
        "nas_service.spaces.operations:OPERATIONS",
        checks.check_operation,
        lambda spec: operations_of(spec.space.operations),
        asdict,
        _operation_of,
    ),
    Kind(
        "operation preset",
        "nas_service.spaces.operations:PRESETS",
        checks.check_preset,
        _preset,
        list,
        _preset_of,
    ),
    Kind(
        "hardware metric",
        "hw_models.metrics:HARDWARE_METRICS",
        checks.check_hardware_metric,
        _metrics,
    ),
    Kind(
        "proxy",
        "nas_service.metrics:PROXIES",
        checks.check_proxy,
        lambda spec: spec.proxies.names,
        lambda proxy: {"source": proxy.source, "structural": proxy.structural},
        _proxy_of,
    ),
    Kind(
        "metric",
        "nas_service.metrics:METRICS",
        checks.check_metric,
        _metrics,
        _metric_facts,
        _metric_of,
    ),
    Kind(
        "data set", "nas_service.data:DATASETS", checks.check_source, lambda spec: [spec.data.name]
    ),
    Kind("chip", "hw_models.profile_file:CHIPS", checks.check_chip, _chips),
    Kind("export format", "nas_service.export.formats:FORMATS", checks.check_format, lambda _: ()),
    Kind(
        "sampler",
        "nas_service.samplers:SAMPLERS",
        checks.check_sampler,
        lambda spec: [spec.search.sampler],
    ),
)
