"""The tables of a study file: space, data, network, training, chip, search, goals and budgets."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from hw_models.profile_file import DEFAULT
from nas_service.metrics import METRICS, at_confidence, check_range
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.operations import operations_of
from nas_service.study.fields import (
    Bits,
    Channels,
    ChipChoices,
    ChipKey,
    Count,
    Epochs,
    InitialTrial,
    InnerPath,
    MetricName,
    Operations,
    PoolSides,
    Positive,
    ProxyName,
    one_or_more,
)

STORED = {"stored": True}
"""Context of the validation of a specification that a store holds. Earlier versions accepted values
that are refused now, and their studies can still be read."""


def is_stored(info: ValidationInfo) -> bool:
    """True while a specification of a store is validated."""
    return info.context == STORED


class Section(BaseModel):
    """A table of the study file: unknown keys and values of another type are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Space(Section):
    """`[space]`: which architectures can be proposed."""

    kind: Literal["cells"] = "cells"
    operations: Operations = "snasnet5"
    mode: Literal["forward", "backward"] = "forward"  # backward: edges may lead back, a step late
    cells: Annotated[int, Field(ge=1, le=4)] = 2
    shared: bool = False  # all cells alike, as in SNASNet
    channels: Channels  # of the first cell, doubled from cell to cell; or a list for each cell
    stem_stride: Annotated[int, Field(ge=1, le=4)] = 1
    head_pool: PoolSides  # pixels a side of the pooling before the readout, or "global"
    hidden: one_or_more(Annotated[int, Field(ge=1, le=65536)])  # type: ignore[valid-type]
    time_steps: one_or_more(Annotated[int, Field(ge=1, le=64)])  # type: ignore[valid-type]
    threshold: one_or_more(Positive) = (1.0,)  # type: ignore[valid-type]
    weight_bits: one_or_more(Bits) = (8,)  # type: ignore[valid-type]
    bits_of: Literal["network", "part", "layer"] = "network"  # what has its own number of bits
    # one candidate is a function, however its cells are written, or each genotype is its own
    deduplicate_by: Literal["function", "genotype"] = "function"

    @model_validator(mode="after")
    def _consistent(self) -> "Space":
        if isinstance(self.channels[0], tuple) and len(self.channels) != self.cells:
            raise ValueError(f"channels: {len(self.channels)} lists for {self.cells} cells")
        if self.mode == "backward" and self.time_steps[0] == 1:
            raise ValueError("time_steps = 1: a backward edge sends to the next of 2 or more")
        return self

    def build(self, chip: tuple[tuple[str, Any], ...] = ()) -> CellSpace:
        """The space that candidates are drawn from.

        Args:
            chip: Settings of the chip that are searched beside the cells: key and choices.

        Returns:
            The space.
        """
        other = ("kind", "mode", "deduplicate_by")
        values = {n: getattr(self, n) for n in type(self).model_fields if n not in other}
        values |= {"operations": operations_of(self.operations), "chip": chip}
        literal = self.deduplicate_by == "genotype"
        return CellSpace(**values, backward=self.mode == "backward", literal=literal)


class Data(Section):
    """`[data]`: which images, how many of them, and how they are split."""

    name: str
    archive: InnerPath | None = None  # below the data folder
    # only for image_folder, whose size and classes are not known before it is read
    size: Annotated[int, Field(ge=1, le=1024)] | None = None  # pixels a side
    classes: Annotated[int, Field(ge=2, le=10000)] | None = None
    channels: Literal[1, 3] = 3
    resize: bool = False  # pictures of another size are cropped to their middle and scaled
    train_samples: Count | None = None  # None: all that are not held out
    validation_samples: Count | None = None  # None: the data set's own share
    split_seed: Annotated[int, Field(ge=0)] = 0


class Network(Section):
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


class Quantization(Section):
    """`[quantization]`: how weights are rounded; their bits are part of the space."""

    granularity: Literal["channel", "tensor"] = "channel"  # what has a step size of its own
    step_size: Literal["absmax", "mse", "learned"] = "absmax"
    mode: Literal["qat", "ptq"] = "qat"  # rounded while it is trained, or afterwards
    scoring: Literal["fp32", "int8"] = "fp32"  # int8: accuracy of the deployed network

    @model_validator(mode="after")
    def _consistent(self) -> "Quantization":
        if self.step_size == "learned" and self.mode == "ptq":
            raise ValueError("step_size = 'learned' is learned in training: mode = 'qat' is needed")
        if self.step_size == "mse" and self.mode == "qat":
            raise ValueError("step_size = 'mse' is searched after the training: mode = 'ptq'")
        return self


class Training(Section):
    """`[training]`: the same for all candidates. 0 epochs: the search is training-free."""

    epochs: Annotated[int, Field(ge=0, le=10**6)]  # of the whole schedule
    until: Count | None = None  # trainings end here; when it is raised, they continue
    rungs: Epochs = ()  # epochs at which a training is scored before its last
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
    def _consistent(self) -> "Training":
        if self.until is not None and self.until > self.epochs:
            raise ValueError(f"until = {self.until}: at most epochs = {self.epochs} is possible")
        if self.rungs and self.rungs[-1] > self.last:
            raise ValueError(f"rungs: {self.rungs[-1]} is after the last epoch, {self.last}")
        return self


class Proxies(Section):
    """`[proxies]`: training-free scores, each the metric `proxy_NAME`."""

    names: tuple[ProxyName, ...] = ()
    samples: Annotated[int, Field(ge=4, le=4096)] = 64  # training images that they are given


class Hardware(Section):
    """`[hardware]`: the chip."""

    profile: str = DEFAULT
    overrides: dict[str, bool | int | float | str] = Field(default_factory=dict)
    # settings of the chip that are searched beside the cells
    search_space: dict[ChipKey, ChipChoices] = Field(default_factory=dict)
    # Before a training the spike rates are not known: a candidate that breaks a budget even at this
    # rate is rejected. 0 never rejects one that could fit.
    assumed_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    monte_carlo_chips: Annotated[int, Field(ge=0, le=1000)] = 0  # draws for `accuracy_on_chip`
    # `traces` also keeps the inputs of all layers for a few validation samples beside the weights,
    # up to 8 MiB a candidate
    record: Literal["rates", "traces"] = "rates"

    @model_validator(mode="after")
    def _consistent(self) -> "Hardware":
        if both := sorted(self.overrides.keys() & self.search_space.keys()):
            raise ValueError(f"{', '.join(both)}: either overridden or searched, not both")
        return self


class EarlyStop(Section):
    """`early_stop`: the search ends when `patience` trainings in a row gained too little."""

    patience: Count  # trainings
    min_gain: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0  # relative, of hypervolume


class Search(Section):
    """`[search]`: the sampler, and when the search ends: at the first of its limits."""

    sampler: str = "tpe"
    constraint_order: tuple[MetricName, ...] | None = None  # of `neuronas`, cheapest first
    repair: bool = False  # the cheapest repair of a rejected candidate is proposed next
    warm_start_from: tuple[str, ...] = ()  # studies of the same store that `greybox` learns from
    initial: tuple[InitialTrial, ...] = ()  # the first trials
    # successive halving over `training.rungs`: one in `reduction_factor` at a rung is promoted
    reduction_factor: Annotated[int, Field(ge=2, le=1000)] | None = None
    trainings: Count = 40
    proposals_per_training: Count = 50
    # wall clock while workers worked, all runs together; a training under way is finished
    seconds: Positive | None = None
    early_stop: EarlyStop | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3  # at one trial whose worker was lost
    max_failures: Count = 10  # failed trials; more of them end the search


LIMITS = {
    "trainings", "proposals_per_training", "seconds", "early_stop", "max_failures", "max_attempts",
}  # fmt: skip
"""Keys of `[search]` that say when it ends: they may change while it runs."""


class Objective(Section):
    """`[[objectives]]`: one metric to optimise."""

    metric: MetricName
    direction: Literal["minimize", "maximize"]
    reference: Annotated[float, Field(allow_inf_nan=False)] | None = None  # worst, for hypervolume
    ideal: Annotated[float, Field(allow_inf_nan=False)] | None = None  # best, for hypervolume

    @model_validator(mode="after")
    def _in_range(self, info: ValidationInfo) -> "Objective":
        if not is_stored(info):
            check_range(self.metric, {"reference": self.reference, "ideal": self.ideal})
        return self


class Constraint(Section):
    """`[[constraints]]`: one budget, from above or from below."""

    metric: MetricName
    at_most: Positive | None = None
    at_least: Positive | None = None
    confidence: Annotated[float, Field(gt=0, lt=1)] | None = None  # that the chip keeps it

    @property
    def described(self) -> str:
        """The budget for people: `area_mm2 <= 5.5`."""
        limit = f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"
        return f"{self.measure} {limit}"

    def shown(self, value: float) -> str:
        """A value of the measure as a study file has it: a whole number, or four digits."""
        return f"{value:.0f}" if METRICS[self.metric].whole else f"{value:.4g}"

    def with_limit(self, limit: float) -> "Constraint":
        """The same budget with another limit."""
        key = "at_most" if self.at_most is not None else "at_least"
        return self.model_copy(update={key: limit})

    @property
    def grows(self) -> bool:
        """True where a cost that is over budget at spike rate 0 is over it at any other rate."""
        return self.at_most is not None or not METRICS[self.metric].grows_with_rate

    def bound(self, samples: Any) -> Any:
        """The value that the metric keeps with the asked confidence.

        Args:
            samples: Draws of the metric over the chip's uncertain figures [..., D].

        Returns:
            The quantile over the last axis [...].
        """
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
    def _in_range(self, info: ValidationInfo) -> "Constraint":
        if not is_stored(info):
            check_range(self.metric, {"at_most": self.at_most, "at_least": self.at_least})
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "Constraint":
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
