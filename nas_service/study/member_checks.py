"""What an entry of a plug-in must be, by kind: each check raises SpecError with what is needed."""

import importlib
import math
import re
from dataclasses import fields, replace
from functools import cache
from numbers import Real
from typing import Any

import numpy as np

from hw_models import (
    HARDWARE_METRICS,
    HardwareError,
    HardwareMetric,
    HardwareReport,
    Layer,
    Workload,
    load_profile,
)
from hw_models.profile_file import DEFAULT
from nas_service.errors import SpecError
from nas_service.metrics import PROXY, Evaluation, Metric, Proxy
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGES, OUTPUT, Cell
from nas_service.spaces.operations import Matrix, Operation, operations_of
from nas_service.spaces.task import Task

NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
OTHER = "spikesim_rram"  # another chip than the default one
LARGEST_WINDOW = 63  # side in pixels
READERS = ("read_train", "read_test", "class_names")  # methods of a data set


def _demand(condition: object, text: str) -> None:
    if not condition:
        raise SpecError(text)


def _demand_type(entry: object, kind: type) -> None:
    _demand(isinstance(entry, kind), f"{_shown(entry)}: the class {kind.__name__} is needed")


def _shown(entry: object) -> str:
    return f"{entry!r:.60}, of type {type(entry).__name__}"


def check_name(name: object) -> None:
    """A name that a study file can hold."""
    _demand(
        isinstance(name, str) and NAME.fullmatch(name),
        "a name of 1..64 letters, digits, '.', '_', '-' is needed, a letter first",
    )


# --- operations


def check_operation(_: str, operation: Any) -> None:
    """An operation that keeps the size of its map."""
    _demand_type(operation, Operation)
    o: Operation = operation
    _demand(isinstance(o.matrices, tuple), f"matrices = {_shown(o.matrices)}: a tuple is needed")
    for matrix in o.matrices:
        _check_matrix(matrix)
    suffixes = o.suffixes
    _demand(len(set(suffixes)) == len(suffixes), f"suffixes {suffixes}: one for each matrix")
    _demand(len(suffixes) < 2 or all(suffixes), f"suffixes {suffixes}: each of several has one")
    _demand(o.pooling in ("", "mean", "max"), f"pooling = {o.pooling!r}: 'mean' or 'max'")
    _check_window("window", o.window)
    _demand(not (o.matrices and o.pooling), "either matrices or a pooling, not both")
    _demand(isinstance(o.carries, bool), f"carries = {o.carries!r}: True or False is needed")
    _demand(o.carries or not o.acts, "carries = False: then without matrices and pooling")
    _demand(
        o.threshold is None or (_is_plain(o.threshold) and o.threshold > 0),
        f"threshold = {o.threshold!r}: a number > 0 is needed",
    )


def _check_matrix(matrix: Any) -> None:
    _demand_type(matrix, Matrix)
    _check_window("kernel", matrix.kernel)
    dilation = matrix.dilation
    whole = type(dilation) is int and 1 <= dilation <= LARGEST_WINDOW
    _demand(whole, f"dilation = {dilation!r}: a whole number >= 1 is needed")
    suffix = matrix.suffix
    right = isinstance(suffix, str) and re.fullmatch(r"(\.[a-z][a-z0-9_]{0,31})?", suffix)
    _demand(right, f"suffix = {suffix!r:.60}: a dot and a word, such as '.pointwise'")
    flag = matrix.depthwise
    _demand(isinstance(flag, bool), f"depthwise = {flag!r}: True or False is needed")


def _check_window(name: str, side: Any) -> None:
    """Windows are odd, so that an operation keeps the size of its map."""
    odd = type(side) is int and 1 <= side <= LARGEST_WINDOW and side % 2
    _demand(odd, f"{name} = {side!r}: an odd number of pixels, 1..{LARGEST_WINDOW}, is needed")


def check_preset(_: str, names: Any) -> None:
    """Names of at least two known operations."""
    _demand(isinstance(names, tuple), f"{_shown(names)}: a tuple of operations is needed")
    operations_of(names)


# --- metrics and proxies


def is_finite(value: object) -> bool:
    """True for a finite number of any type."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _untrained() -> Evaluation:
    nothing: Any = {"accuracy": None, "spike_rate": None, "spike_rates": {}, "on_chip": ()}
    return replace(sample_evaluation(), outcome="screened", fidelity=0, curve=(), **nothing)


def _is_plain(value: object) -> bool:
    """True for a number that JSON can hold."""
    return type(value) in (int, float) and is_finite(value)


RATES = {"stem": 0.5, "cell0.edge03": 0.1, "hidden": 0.1, "readout": 0.1}  # of the sample


@cache
def _sample_report(profile: str) -> HardwareReport:
    side: Any = {"kernel": 3, "in_size": 8, "out_size": 8}
    layers = (
        Layer("stem", "conv", 1, 4, **side, input_bits=8, once=True),
        Layer("cell0.edge03", "conv", 4, 4, **side),
        Layer("hidden", "linear", 256, 16),
        Layer("readout", "linear", 16, 10),
    )
    return load_profile(profile).estimate(Workload(layers, 2).with_spike_rates(RATES))


def sample_evaluation(profile: str = DEFAULT) -> Evaluation:
    """An evaluation with made-up results on a chip, on which metrics of plug-ins are tried."""
    return Evaluation(
        Architecture((Cell(("conv3x3",) * len(EDGES)),), 4, 2, 16, 2, 8),
        "trained",
        _sample_report(profile),
        chance=0.1,
        seed=0,
        fidelity=1,
        accuracy=0.5,
        spike_rates={**RATES},
        spike_rate=0.1,
        on_chip=(0.4, 0.5),
        curve=((1, 0.5),),
    )


def _tried(what: str, function: Any, *arguments: Any) -> Any:
    """What a function of a plug-in returns; SpecError for one that fails."""
    _demand(callable(function), f"{what} = {_shown(function)}: a function is needed")
    try:
        return function(*arguments)
    except Exception as error:
        raise SpecError(f"its {what} fails on a sample: {type(error).__name__}: {error}") from error


def check_facts(metric: Any) -> None:
    """All of a metric but its functions."""
    right = isinstance(metric.unit, str) and len(metric.unit) <= 40 and metric.unit.isprintable()
    _demand(right, f"unit = {metric.unit!r:.60}: a text is needed")
    places = metric.decimals
    _demand(type(places) is int and 0 <= places <= 12, f"decimals = {places!r}: 0..12 is needed")
    best = metric.ideal
    _demand(best is None or _is_plain(best), f"ideal = {best!r:.60}: a number or None is needed")
    for field in fields(metric):
        value = getattr(metric, field.name)
        right = field.type not in (bool, str) or type(value) is field.type
        _demand(right, f"{field.name} = {value!r:.60}: another type is needed")


def check_metric(name: str, metric: Any) -> None:
    """A metric, which is tried on a sample."""
    _demand_type(metric, Metric)
    check_facts(metric)
    value = _tried("value", metric.value, sample_evaluation())
    _demand(value is None or is_finite(value), f"value {value!r:.60}: a number or None is needed")
    value = _tried("fallback", metric.fallback, sample_evaluation())
    _demand(is_finite(value), f"fallback {value!r:.60}: a finite number is needed")
    if name.startswith(PROXY) or metric.proxy:
        _demand(name == PROXY + metric.proxy, "the metric of a proxy follows from PROXIES")
    elif metric.trained:
        value = _tried("value", metric.value, _untrained())
        _demand(value is None, f"value {value!r:.60} of an untrained candidate: None is needed")
    else:
        hint = "trained = True is needed, or, for what costs say, an entry of HARDWARE_METRICS"
        _demand(name in HARDWARE_METRICS, hint)


def depends_on_chip(metric: Metric) -> bool:
    """True where the value of the sample differs on another chip."""
    return bool(metric.value(sample_evaluation()) != metric.value(sample_evaluation(OTHER)))


def check_hardware_metric(_: str, metric: Any) -> None:
    """A metric of the hardware, which is tried on totals of one workload and of two."""
    _demand_type(metric, HardwareMetric)
    check_facts(metric)
    totals = sample_evaluation().hardware.totals()
    value = _tried("value", metric.value, totals)
    _demand(is_finite(value), f"value {value!r:.60}: a finite number is needed")
    many = _tried("value", metric.value, {k: np.full(2, x) for k, x in totals.items()})
    _demand(np.shape(many) in ((), (2,)), "its value of arrays [N] must be an array [N]")


def check_proxy_facts(proxy: Any) -> None:
    """All of a proxy but its function."""
    _demand(isinstance(proxy.source, str), f"source = {proxy.source!r:.60}: a text is needed")
    structural = proxy.structural
    _demand(isinstance(structural, bool), f"structural = {structural!r}: True or False is needed")


def check_proxy(_: str, proxy: Any) -> None:
    """A proxy; the function of a structural one is tried on a sample."""
    _demand_type(proxy, Proxy)
    check_proxy_facts(proxy)
    _demand(callable(proxy.function), f"function = {_shown(proxy.function)}: a function is needed")
    if proxy.structural:
        value = _tried("function", proxy.function, {(0, 1): (1.0,), (1, OUTPUT): (1.0, 1.0)})
        _demand(is_finite(value), f"function {value!r:.60}: a finite number is needed")


# --- data sets, chips, export formats, samplers


def check_source(name: str, source: Any) -> None:
    """A data set, whose files are not opened."""
    _demand(name != "image_folder", "the name of the data set that a study describes itself")
    _demand(isinstance(getattr(source, "task", None), Task), f"{_shown(source)}: task is no Task")
    held_out = getattr(source, "validation_samples", None)
    right = type(held_out) is int and held_out >= 0
    _demand(right, f"validation_samples = {held_out!r:.60}: a whole number >= 0 is needed")
    for key in ("home", "licence"):
        text = getattr(source, key, None)
        _demand(isinstance(text, str), f"{key} = {text!r:.60}: a text is needed")
    for key in READERS:
        _demand(callable(getattr(source, key, None)), f"{_shown(source)}: no method {key}")


def check_chip(name: str, tables: Any) -> None:
    """The tables of a profile file."""
    _demand(isinstance(tables, dict), f"{_shown(tables)}: the tables of a profile are needed")
    _demand(not name.endswith(".toml"), "a name that ends with .toml is that of a file")
    try:
        load_profile(name)
    except HardwareError as error:
        raise SpecError(str(error)) from None


def check_format(_: str, entry: Any) -> None:
    """A format, whose module defines its functions."""
    _demand_type(entry, importlib.import_module("nas_service.export.formats").Format)
    suffixes = (entry.suffix, *entry.others)
    right = all(isinstance(x, str) and re.fullmatch(r"(\.[a-z0-9]{1,20})+", x) for x in suffixes)
    _demand(right, f"suffixes {suffixes!r:.60}: such as '.npz' are needed")
    _demand(isinstance(entry.summary, str), f"summary = {entry.summary!r:.60}: a text is needed")
    try:
        module = entry.load()
    except ImportError as error:
        raise SpecError(f"place = {entry.place!r:.60}: a module is needed ({error})") from None
    for key in ("contents", "run") if entry.runs else ("contents",):
        there = callable(getattr(module, key, None))
        _demand(there, f"{entry.place!r:.60} defines no function {key}")


def check_sampler(_: str, entry: Any) -> None:
    """A sampler, which is not made yet."""
    _demand_type(entry, importlib.import_module("nas_service.samplers").SamplerEntry)
    _demand(callable(entry.make), f"make = {_shown(entry.make)}: a function is needed")
