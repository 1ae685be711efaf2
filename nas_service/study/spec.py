"""A study as data: what is searched, on which data and chip, for what and within which budgets.

A study file says nothing about a machine: storage, data folder and device are given at the
command line or in the environment, so a study runs anywhere.
"""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from hw_models import WorkloadError
from hw_models.parameters import CHOICES, SCHEMA
from nas_service.errors import NasError, SpecError, did_you_mean, pick
from nas_service.json_file import read_json
from nas_service.metrics import METRICS, PROXY, PROXY_NAMES, at_confidence
from nas_service.spaces.architecture import GLOBAL
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.operations import operations_of

STARTS = ("published", "extremes", "cheapest")  # candidates to begin with, by name
FRONT = "front:"  # in front of the study whose front it is
WINDOWS_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{d}{n}" for d in ("com", "lpt") for n in "123456789"
}


def study_name(name: str) -> str:
    """The name, if it is safe in paths, URLs and terminals; SpecError otherwise."""
    legal = name.isascii() and all(c.isalnum() or c in "._-" for c in name)
    device = name.partition(".")[0].lower() in WINDOWS_DEVICES
    if not legal or not 1 <= len(name) <= 64 or name.startswith((".", "-")) or device:
        raise SpecError(
            f"name {name!r:.80}: 1..64 letters, digits, '.', '_', '-' are possible, "
            "no leading dot or dash, no device name of Windows"
        )
    return name


def _ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError(f"{list(values)} must ascend without repeats")
    return values


def _metric(name: str) -> str:
    pick(METRICS, name, "metric")
    return name


def _proxy(name: str) -> str:
    pick(dict.fromkeys(PROXY_NAMES), name, "proxy")
    return name


def _start(entry: str | dict[str, Any]) -> str | dict[str, Any]:
    """A name, `front:NAME`, a cell as text, or an architecture as a table."""
    if isinstance(entry, dict) or entry in STARTS or set(entry) <= set("0123456789 "):
        return entry
    if entry.startswith(FRONT):
        study_name(entry.removeprefix(FRONT))
        return entry
    raise ValueError(
        f"{entry!r:.80}{did_you_mean(entry, STARTS)}: {', '.join(STARTS)}, {FRONT}STUDY, a cell as "
        "text, an architecture as a table, or its .json file in a study file"
    )


def _operations(choice: str | tuple[str, ...]) -> str | tuple[str, ...]:
    operations_of(choice)
    return choice


Count = Annotated[int, Field(ge=1, le=10**9)]
Bits = Annotated[int, Field(ge=2, le=8)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MetricName = Annotated[str, AfterValidator(_metric)]


def _one_or_many(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _sizes(item: Any) -> Any:
    """One value, or several ascending ones to choose from."""
    many = tuple[item, ...]
    return Annotated[
        many,
        Field(min_length=1, max_length=64),
        BeforeValidator(_one_or_many),
        AfterValidator(_ascending),
    ]


def _chip_key(key: str) -> str:
    """A setting that may be searched: a whole number of the chip's structure, or an option."""
    pick({**dict.fromkeys(SEARCHABLE), **CHOICES}, key, "searchable chip setting")
    return key


def _one_kind(values: tuple[int | str, ...]) -> tuple[int | str, ...]:
    if len(set(values)) != len(values) or len({type(v) for v in values}) > 1:
        raise ValueError(f"{list(values)}: different numbers, or different words, are needed")
    if isinstance(values[0], int) and list(values) != sorted(values):
        raise ValueError(f"{list(values)} must ascend without repeats")
    return values


SEARCHABLE = tuple(key for key, quantity in SCHEMA.items() if quantity.whole)
ChipKey = Annotated[str, AfterValidator(_chip_key)]
Choices = Annotated[
    tuple[int | str, ...], Field(min_length=1, max_length=64), AfterValidator(_one_kind)
]


class Part(BaseModel):
    """A table of the study file: unknown keys and foreign types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _widths(value: Any) -> Any:
    """Channels of the first cell, or a list of lists: those of each cell."""
    if isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple):
        return tuple(_one_or_many(each) for each in value)
    return _one_or_many(value)


def _pools(value: Any) -> Any:
    sides = tuple(GLOBAL if v == "global" else v for v in _one_or_many(value))
    for word in (v for v in sides if isinstance(v, str)):
        hint = did_you_mean(word, {"global"})
        raise ValueError(f"{word!r:.40}{hint}: pixels, or 'global', are needed")
    return sides


def _all_ascending(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if values and isinstance(values[0], tuple):
        return tuple(_ascending(each) for each in values)
    return _ascending(values)


Width = Annotated[int, Field(ge=1, le=1024)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=64)]


class Space(Part):
    """`[space]`: which architectures can be proposed."""

    kind: Literal["cells"] = "cells"
    operations: Annotated[str | tuple[str, ...], AfterValidator(_operations)] = "snasnet5"
    mode: Literal["forward", "backward"] = "forward"  # backward: edges may lead back, a step late
    cells: Annotated[int, Field(ge=1, le=4)] = 2
    shared: bool = False  # all cells alike, as in SNASNet
    channels: Annotated[  # of the first cell, doubling; or a list for each cell
        Widths | Annotated[tuple[Widths, ...], Field(min_length=1)],
        BeforeValidator(_widths),
        AfterValidator(_all_ascending),
    ]
    stem_stride: Annotated[int, Field(ge=1, le=4)] = 1
    head_pool: Annotated[
        tuple[Annotated[int, Field(ge=0, le=64)], ...],
        Field(min_length=1, max_length=64),
        BeforeValidator(_pools),
    ]
    hidden: _sizes(Annotated[int, Field(ge=1, le=65536)])  # type: ignore[valid-type]
    time_steps: _sizes(Annotated[int, Field(ge=1, le=64)])  # type: ignore[valid-type]
    threshold: _sizes(Positive) = (1.0,)  # type: ignore[valid-type]
    weight_bits: _sizes(Bits) = (8,)  # type: ignore[valid-type]
    bits_of: Literal["network", "part", "layer"] = "network"  # what has bits of its own
    # what is a candidate of its own: a function, however its cells are written, or each genotype
    candidates: Literal["functions", "genotypes"] = "functions"

    @field_validator("head_pool")
    @classmethod
    def _pools_ascend(cls, pools: tuple[int, ...]) -> tuple[int, ...]:
        """`global` may stand anywhere; it is drawn as the largest."""
        sides = tuple(p for p in pools if p != GLOBAL)
        if pools.count(GLOBAL) > 1:
            raise ValueError("'global' stands twice")
        return (*_ascending(sides), *(p for p in pools if p == GLOBAL))

    @model_validator(mode="after")
    def _together(self) -> "Space":
        if isinstance(self.channels[0], tuple) and len(self.channels) != self.cells:
            raise ValueError(f"channels: {len(self.channels)} lists for {self.cells} cells")
        if self.mode == "backward" and self.time_steps[0] == 1:
            raise ValueError("time_steps = 1: a backward edge sends to the next of 2 or more")
        return self

    def build(self, chip: tuple[tuple[str, Any], ...] = ()) -> CellSpace:
        other = ("kind", "mode", "candidates")
        values = {n: getattr(self, n) for n in type(self).model_fields if n not in other}
        values |= {"operations": operations_of(self.operations), "chip": chip}
        literal = self.candidates == "genotypes"
        return CellSpace(**values, backward=self.mode == "backward", literal=literal)


def _below(path: str) -> str:
    """A path that cannot lead out of the folder it is taken from."""
    parts = path.replace("\\", "/").split("/")
    if not path.isprintable() or parts[0] == "" or ".." in parts or ":" in parts[0]:
        raise ValueError(f"{path!r:.80}: a path below the data folder is needed")
    return path


class Data(Part):
    """`[data]`: which images, how many of them, and how they are split."""

    name: str
    archive: Annotated[str, AfterValidator(_below)] | None = None  # below the data folder
    # of an image_folder, which knows them not before it is read
    size: Annotated[int, Field(ge=1, le=1024)] | None = None  # pixels a side
    classes: Annotated[int, Field(ge=2, le=10000)] | None = None
    channels: Literal[1, 3] = 3
    resize: bool = False  # pictures of another size are cropped to their middle and scaled
    train_samples: Count | None = None  # None: all that are not held out
    validation_samples: Count | None = None  # None: the data set's own share
    split_seed: Annotated[int, Field(ge=0)] = 0


class Network(Part):
    """`[network]`: what all candidates share."""

    votes: Annotated[int, Field(ge=1, le=100)] = 1  # outputs averaged per class
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    tau: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 4 / 3  # membrane, in time steps
    surrogate: Literal["atan", "triangle"] = "atan"
    reset: Literal["zero", "subtract"] = "zero"
    detach_reset: bool = True
    fires_at_threshold: bool = False
    norm: Literal["folded", "step"] = "folded"  # statistics of all time steps, or of each
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.3


class Quantization(Part):
    """`[quantization]`: how weights are rounded; their bits are part of the space."""

    per: Literal["channel", "tensor"] = "channel"
    scale: Literal["absmax", "mse", "learned"] = "absmax"
    when: Literal["training", "after"] = "training"
    scoring: Literal["fp32", "int8"] = "fp32"  # int8: accuracy of the deployed network

    @model_validator(mode="after")
    def _together(self) -> "Quantization":
        if self.scale == "learned" and self.when == "after":
            raise ValueError("scale = 'learned' learns in training: when = 'training' is needed")
        if self.scale == "mse" and self.when == "training":
            raise ValueError("scale = 'mse' is a search behind the training: when = 'after'")
        return self


class Training(Part):
    """`[training]`: all candidates alike. 0 epochs: the search is free of training."""

    epochs: Annotated[int, Field(ge=0, le=10**6)]  # of the whole schedule
    until: Count | None = None  # trainings end here, until it is raised: then they go on
    rungs: Annotated[tuple[Count, ...], AfterValidator(_ascending)] = ()  # scored on the way
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["onecycle", "cosine"] = "onecycle"
    learning_rate: Positive | None = None  # None: 0.01 with adamw, 0.1 with sgd
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None  # 0.01, 5e-4
    warm_up: Annotated[float, Field(gt=0, lt=1)] = 0.2  # share of steps in which the rate rises
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # of sgd
    clip: Positive | None = None  # largest norm of the gradient
    crop: Annotated[int, Field(ge=0, le=64)] = 0  # pixels of border for random crops
    flip: bool = False  # left to right at random
    precision: Literal["fp32", "bf16"] = "fp32"
    inherit: bool = False  # start from weights that other candidates of the study have trained
    memory_GiB: Positive = 4.0  # a candidate that would need more is rejected, not trained

    @property
    def last(self) -> int:
        """Epochs that a training of this study runs."""
        return self.epochs if self.until is None else self.until

    @model_validator(mode="after")
    def _within(self) -> "Training":
        if self.until is not None and self.until > self.epochs:
            raise ValueError(f"until = {self.until}: at most epochs = {self.epochs} is possible")
        if self.rungs and self.rungs[-1] > self.last:
            raise ValueError(f"rungs: {self.rungs[-1]} is behind the last epoch, {self.last}")
        return self


class Proxies(Part):
    """`[proxies]`: training-free scores, each the metric `proxy_NAME`."""

    names: tuple[Annotated[str, AfterValidator(_proxy)], ...] = ()
    samples: Annotated[int, Field(ge=4, le=4096)] = 64  # training images they look at


class Hardware(Part):
    """`[hardware]`: the chip."""

    profile: str = "corrected"
    set: dict[str, bool | int | float | str] = Field(default_factory=dict)
    # settings of the chip that are searched beside the cells
    space: dict[ChipKey, Choices] = Field(default_factory=dict)
    # Before a training the spike rates are not known: a candidate that breaks a budget even at this
    # rate is rejected. 0 never rejects one that could fit.
    assumed_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    chips: Annotated[int, Field(ge=0, le=1000)] = 0  # simulated ones for `accuracy_on_chip`

    @model_validator(mode="after")
    def _set_or_searched(self) -> "Hardware":
        if both := sorted(self.set.keys() & self.space.keys()):
            raise ValueError(f"{', '.join(both)}: either set or searched, not both")
        return self


class Stall(Part):
    """`stall`: the search ends when so many trainings in a row brought so little."""

    trainings: Count
    gain: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0  # relative, of hypervolume


class Search(Part):
    """`[search]`: who proposes, and when it ends: at the first of its limits."""

    sampler: str = "tpe"
    checks: tuple[MetricName, ...] | None = None  # of `neuronas`, cheapest first
    repair: bool = False  # the cheapest repair of what was rejected is proposed next
    warm: tuple[str, ...] = ()  # studies of the same store that `greybox` learns from
    # the first trials: STARTS, `front:STUDY`, cells as text, architectures
    start: tuple[Annotated[str | dict[str, Any], AfterValidator(_start)], ...] = ()
    # trainings end at the first of `training.rungs`; of those at a rung one in so many goes on
    halving: Annotated[int, Field(ge=2, le=1000)] | None = None
    trainings: Count = 40
    proposals_per_training: Count = 50
    # wall clock while workers worked, all runs together; a training under way is finished
    seconds: Positive | None = None
    stall: Stall | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3  # of one trial whose worker died
    max_failures: Count = 10  # trials; more of them end the search


BUDGET = {"trainings", "proposals_per_training", "seconds", "stall", "max_failures", "max_attempts"}


class Objective(Part):
    """`[[objectives]]`: one metric to optimise."""

    metric: MetricName
    direction: Literal["minimize", "maximize"]
    reference: Annotated[float, Field(allow_inf_nan=False)] | None = None  # worst, for hypervolume
    ideal: Annotated[float, Field(allow_inf_nan=False)] | None = None  # best, for hypervolume


class Constraint(Part):
    """`[[constraints]]`: one budget, from above or from below."""

    metric: MetricName
    at_most: Positive | None = None
    at_least: Positive | None = None
    confidence: Annotated[float, Field(gt=0, lt=1)] | None = None  # that the chip keeps it

    @property
    def grows(self) -> bool:
        """True where a cost at spike rate 0 over budget stays over it at any other rate."""
        return self.at_most is not None or not METRICS[self.metric].grows_with_rate

    def bound(self, samples: Any) -> Any:
        """The value that the metric keeps with the asked confidence, from draws of it [.., D]."""
        assert self.confidence is not None  # noqa: S101  asked for by its caller
        share = self.confidence if self.at_most is not None else 1 - self.confidence
        return np.quantile(samples, share, axis=-1)

    @property
    def measure(self) -> str:
        """The number that is compared: the metric, or its bound at the asked confidence."""
        if self.confidence is None:
            return self.metric
        return at_confidence(self.metric, self.confidence)

    @model_validator(mode="after")
    def _one_bound(self) -> "Constraint":
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("exactly one of at_most and at_least is needed")
        if self.confidence is not None and not METRICS[self.metric].has_interval:
            known = ", ".join(name for name, m in METRICS.items() if m.has_interval)
            raise ValueError(f"confidence: {self.metric} has no interval, only {known} have one")
        return self

    def violation(self, value: Any) -> Any:
        """Relative violation of the budget: <= 0 is feasible, 0.5 is half the budget too much."""
        if self.at_most is not None:
            return value / self.at_most - 1
        assert self.at_least is not None  # noqa: S101  the validator above
        return 1 - value / self.at_least


class StudySpec(Part):
    """A whole study file."""

    name: Annotated[str, AfterValidator(study_name)]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    space: Space
    data: Data
    network: Network = Network()
    quantization: Quantization = Quantization()
    training: Training
    proxies: Proxies = Proxies()
    hardware: Hardware = Hardware()
    search: Search = Search()
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=6)]
    constraints: Annotated[tuple[Constraint, ...], Field(max_length=16)] = ()

    @model_validator(mode="after")
    def _distinct(self) -> "StudySpec":
        metrics = [o.metric for o in self.objectives]
        if len(set(metrics)) != len(metrics):
            raise ValueError(f"objectives: {metrics} names a metric twice")
        bounds = [(c.metric, c.at_most is None) for c in self.constraints]
        if len(set(bounds)) != len(bounds):
            raise ValueError("constraints: the same bound stands twice")
        for objective in self.objectives:
            self.reference(objective)
            self.ideal(objective)
        asked = [*metrics, *(c.metric for c in self.constraints)]
        self._demand_proxies(asked)
        learned = [m for m in asked if METRICS[m].trained]
        if learned and self.training.epochs == 0:
            raise ValueError(f"{learned[0]}: training.epochs = 0 measures none")
        if self.quantization.scoring == "int8" and self.training.epochs == 0:
            raise ValueError("quantization.scoring = 'int8': training.epochs = 0 scores nothing")
        simulated = [m for m in asked if METRICS[m].simulated]
        if simulated and self.hardware.chips < 2:
            raise ValueError(f"{simulated[0]}: hardware.chips says how many to simulate, 2 or more")
        return self

    @model_validator(mode="after")
    def _ladder(self) -> "StudySpec":
        """Successive halving needs a first rung, and compares candidates at equal epochs."""
        key, t = f"search.halving = {self.search.halving}", self.training
        if self.search.halving is None:
            return self
        if t.epochs == 0:
            raise ValueError(f"{key}: training.epochs = 0, there is no training to end early")
        if not t.rungs:
            raise ValueError(f"{key}: training.rungs is empty, epochs before {t.last} are needed")
        if t.rungs[-1] == t.last:
            raise ValueError(
                f"{key}: training.rungs ends with {t.last}, the last epoch: only those before it"
            )
        asked = [*(o.metric for o in self.objectives), *(c.metric for c in self.constraints)]
        if "epochs" in asked:
            raise ValueError(f"{key}: 'epochs' is no objective and no constraint then")
        return self

    def _demand_proxies(self, asked: list[str]) -> None:
        for name in (METRICS[m].proxy for m in asked):
            if name and name not in self.proxies.names:
                raise ValueError(f"{PROXY}{name}: proxies.names must hold {name!r}")

    def build_space(self) -> CellSpace:
        """Architectures and the chip settings that are searched beside them."""
        return self.space.build(tuple(self.hardware.space.items()))

    def ideal(self, objective: Objective) -> float:
        """The best value there can be, for the hypervolume: given, or the metric's own."""
        own = METRICS[objective.metric].ideal if objective.direction == "maximize" else 0.0
        best = own if objective.ideal is None else objective.ideal
        if best is None:
            raise ValueError(
                f"objective {objective.metric!r} has no best value: give it `ideal`, the best "
                "that can be hoped for, for the hypervolume"
            )
        return best

    def reference(self, objective: Objective) -> float:
        """The worst value that still counts for the hypervolume: given, or the budget, or 0."""
        if objective.reference is not None:
            return objective.reference
        if objective.direction == "maximize":
            return 0.0
        for c in self.constraints:
            if c.metric == objective.metric and c.at_most is not None:
                return c.at_most
        raise ValueError(
            f"objective {objective.metric!r} has no budget: give it `reference`, the worst value "
            "that still counts for the hypervolume"
        )

    def constraint_name(self, constraint: Constraint) -> str:
        """The metric's name; `_min` follows where the metric has an upper bound as well."""
        both = sum(c.metric == constraint.metric for c in self.constraints) > 1
        return constraint.metric + ("_min" if both and constraint.at_least is not None else "")

    @property
    def steps(self) -> tuple[int, ...]:
        """Epochs at which trainings end for candidates to be compared: the last one, and behind
        successive halving's rungs.
        """
        t = self.training
        return (t.last,) if self.search.halving is None else (*t.rungs, t.last)

    def scaled(self, metrics: dict[str, float]) -> tuple[float, ...]:
        """Objectives from 0 at the best value there can be to 1 at the reference."""
        point = []
        for o in self.objectives:
            ideal = self.ideal(o)
            point.append((metrics[o.metric] - ideal) / ((self.reference(o) - ideal) or 1.0))
        return tuple(point)

    def violations(self, metrics: dict[str, float]) -> dict[str, float]:
        """Relative violation of every constraint, in the order of the study file."""
        return {self.constraint_name(c): c.violation(metrics[c.measure]) for c in self.constraints}

    def known_violations(self, metrics: dict[str, float]) -> dict[str, float]:
        """The same of those constraints whose measure is there."""
        known = [c for c in self.constraints if c.measure in metrics]
        return {self.constraint_name(c): c.violation(metrics[c.measure]) for c in known}

    def same_search(self, other: "StudySpec") -> bool:
        """True where both differ at most in name, budget and `training.until`: results may stand
        in one study.
        """
        return self._fixed() == other._fixed()

    def _fixed(self) -> dict[str, Any]:
        return self.model_dump(exclude={"name": True, "search": BUDGET, "training": {"until"}})

    def differences(self, other: "StudySpec") -> list[str]:
        """Dotted keys in which two specifications differ, apart from name, budget and until."""
        mine, others = _flat(self._fixed()), _flat(other._fixed())
        return sorted(k for k in mine.keys() | others.keys() if mine.get(k) != others.get(k))

    def with_budget(self, other: "StudySpec") -> "StudySpec":
        """The same search with another's limits."""
        limits = {name: getattr(other.search, name) for name in BUDGET}
        return self.model_copy(update={"search": self.search.model_copy(update=limits)})

    def with_until(self, until: int) -> "StudySpec":
        """The same study, its trainings ending at another epoch; SpecError where there is none."""
        tree = self.model_dump(mode="json")
        tree["training"]["until"] = until
        return parse_spec(json.dumps(tree), f"study {self.name!r}")


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict) and tree:
        return {k: v for key, sub in tree.items() for k, v in _flat(sub, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): tree}


def load_spec(path: Path) -> StudySpec:
    """A study file read and checked; SpecError lists every fault with its key."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read ({error})") from error
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path}: not TOML: {error}") from error
    _read_starts(tree, path)
    return parse_spec(json.dumps(tree, default=str), str(path))


def _read_starts(tree: Any, path: Path) -> None:
    """Puts architectures in the place of their files, which lie beside the study file."""
    search = tree.get("search")
    entries: Any = search.get("start") if isinstance(search, dict) else None
    for place, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, str) and entry.endswith(".json"):
            try:
                found = read_json(path.parent / entry)
            except WorkloadError as error:
                raise SpecError(f"{path}: search.start.{place}: {error}") from None
            shown = isinstance(found, dict) and "architecture" in found  # by `nas show --json`
            entries[place] = found["architecture"] if shown else found


def parse_spec(text: str, where: str) -> StudySpec:
    """A study from JSON; `where` names its origin in the errors."""
    try:
        return StudySpec.model_validate_json(text)
    except ValidationError as error:
        faults = [_explain(fault) for fault in _causes(error.errors())]
        raise SpecError("\n".join(f"{where}: {fault}" for fault in dict.fromkeys(faults))) from None
    except NasError as error:  # raised by a validator: one sentence that is complete by itself
        raise SpecError(f"{where}: {error}") from None


def _causes(faults: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that are only too short because what stands in them is wrong."""
    places = [fault["loc"] for fault in faults]

    def follows(fault: ErrorDetails) -> bool:
        at = fault["loc"]
        return fault["type"] == "too_short" and any(
            len(p) > len(at) and p[: len(at)] == at for p in places
        )

    return [fault for fault in faults if not follows(fault)]


def _explain(fault: ErrorDetails) -> str:
    """`key: what is wrong (what would be right)`."""
    key = ".".join(str(part) for part in fault["loc"] if not _is_branch(part)) or "study"
    if fault["type"] == "extra_forbidden":
        allowed = _keys_at(fault["loc"][:-1])
        hint = did_you_mean(str(fault["loc"][-1]), allowed)
        return f"{key}: unknown key{hint} (possible: {', '.join(sorted(allowed))})"
    message = fault["msg"].removeprefix("Value error, ")
    shown = "" if fault["type"] in ("missing", "value_error") else f", not {fault['input']!r:.60}"
    return f"{key}: {message[0].lower()}{message[1:]}{shown}"


def _is_branch(part: int | str) -> bool:
    """Names that pydantic adds for the member of a union, which no user wrote."""
    return isinstance(part, str) and (
        part.startswith(("tuple[", "function-")) or part in ("str", "int", "float")
    )


def _keys_at(loc: tuple[int | str, ...]) -> set[str]:
    """Keys possible in the table that an error points into."""
    model: type[BaseModel] = StudySpec
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return set(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in get_args(annotation) if (m := _model_in(a))), None)
