"""From an architecture to what is known of it: costs first, training only if it can pay."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from hw_models import Workload
from hw_models.uncertainty import Ensemble
from nas_service.data import source_of
from nas_service.data.batches import Stored, batch
from nas_service.data.dataset import Source
from nas_service.data.images import Images, Split, split
from nas_service.errors import SpecError
from nas_service.evaluation.repair import MOST, repair
from nas_service.evaluation.screening import Budgets, profile_of
from nas_service.evaluation.training_memory import training_memory_B
from nas_service.metrics import Evaluation, values_with_fallbacks
from nas_service.rejection import Rejection
from nas_service.snn import checkpoint, inheritance
from nas_service.snn.analog import accuracy_on_chip
from nas_service.snn.augmentation import Augmentation
from nas_service.snn.checkpoint import load_weights, save_weights
from nas_service.snn.deployed import deployed
from nas_service.snn.int8 import in_int8
from nas_service.snn.network import Network
from nas_service.snn.neurons import Neuron, backend_name
from nas_service.snn.proxies import score
from nas_service.snn.quantization import Rounding
from nas_service.snn.trace import spike_rates
from nas_service.snn.training import (
    Diverged,
    Recipe,
    accuracy,
    firing_rate,
    fit,
    recalibrate,
    recalibrated,
)
from nas_service.snn.workload_cache import Composition
from nas_service.spaces.architecture import Architecture, ChipSettings
from nas_service.study.spec import StudySpec

RATE_SAMPLES = 256  # validation images on which spike rates are measured
CHIP_SAMPLES = 128  # validation images that each simulated chip classifies
PACKAGES = ("nas-service", "torch", "norse", "optuna", "numpy")

log = logging.getLogger(__name__)


def versions() -> dict[str, str]:
    """Versions of what decides a number, and which neurons run."""
    return {name: version(name) for name in PACKAGES} | {"neurons": backend_name()}


def device() -> torch.device:
    """The device of this process, `NAS_DEVICE`; SpecError where there is none such."""
    name = os.environ.get("NAS_DEVICE", "cpu")
    try:
        found = torch.device(name)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"NAS_DEVICE = {name!r}: no such device ({reason})") from None
    return found


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Everything a candidate is measured with: the study's data, chip and recipe."""

    spec: StudySpec
    source: Source
    data: Split
    folder: Path
    composition: Composition
    device: torch.device
    _splits: dict[int, Split] = field(default_factory=dict, repr=False)
    _ensembles: dict[ChipSettings, Ensemble] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, spec: StudySpec, folder: Path) -> "Evaluator":
        """Reads the data; DataError before any trial is used."""
        _say_memory(spec.training.memory_GiB)
        source, steps = source_of(spec.data), min(spec.space.time_steps)
        data = _split(spec, source, folder, steps)
        composition = Composition(spec.build_space(), source.task, spec.network.votes)
        return cls(spec, source, data, folder, composition, device(), {steps: data})

    def images(self, time_steps: int) -> Split:
        """Training and validation images; recordings of events as so many frames."""
        if not self.source.task.events:
            return self.data
        if time_steps not in self._splits:
            self._splits[time_steps] = _split(self.spec, self.source, self.folder, time_steps)
        return self._splits[time_steps]

    @property
    def data_digest(self) -> str:
        return self.data.train.digest[:8] + self.data.validation.digest[:8]

    def workload(self, architecture: Architecture) -> Workload:
        return self.composition.workload(architecture)

    def _ensemble(self, architecture: Architecture) -> Ensemble:
        """The candidate's chip, with the intervals of its figures."""
        chip = architecture.chip
        if chip not in self._ensembles:
            self._ensembles[chip] = Ensemble(profile_of(self.spec, chip))
        return self._ensembles[chip]

    def _costed(self, evaluation: Evaluation, workload: Workload) -> Evaluation:
        """The candidate with its costs, and the bounds at the confidences the study asks for."""
        ensemble = self._ensemble(evaluation.architecture)
        asked = [c for c in self.spec.constraints if c.confidence is not None]
        samples = ensemble.metrics(workload) if asked else {}
        bounds = {c.measure: float(c.bound(samples[c.metric])) for c in asked}
        report = ensemble.profile.estimate(workload)
        return replace(evaluation, hardware=report, bounds=bounds)

    def screen(
        self, architecture: Architecture, seed: int, repairs: Budgets | None = None
    ) -> Evaluation:
        """What is known before training: exact sizes, costs at the assumed rate, why to reject.

        An empty `reason` means that the candidate deserves its training. A repair is searched in
        the space of `repairs`, by default the evaluator's own.
        """
        workload = self.workload(architecture)
        at_rest = workload.at_rate(self.spec.hardware.assumed_rate)
        unborn = Evaluation(
            architecture,
            "rejected",
            self._ensemble(architecture).profile.estimate(at_rest),
            chance=self.source.task.chance,
            seed=seed,
            versions=versions(),
        )
        unborn = self._costed(unborn, at_rest)
        rejection = self._rejection(unborn, workload)
        if rejection is None:
            return unborn
        return with_repair(unborn, rejection, repairs or self.budgets)

    @cached_property
    def budgets(self) -> Budgets:
        """The same that `screen` asks, of many candidates at once."""
        return Budgets(self.spec, self.composition)

    def _rejection(self, unborn: Evaluation, workload: Workload) -> Rejection | None:
        if not unborn.architecture.connected:
            return Rejection.without_path()
        batch_size = self.spec.training.batch_size
        need = training_memory_B(unborn.architecture, workload, batch_size) / 2**30
        if need > self.spec.training.memory_GiB:
            return Rejection.too_large(need, self.spec.training.memory_GiB)
        return self._over_budget(unborn)

    def _over_budget(self, unborn: Evaluation) -> Rejection | None:
        values = unborn.hardware_metrics | unborn.bounds
        known = [c for c in self.spec.constraints if c.measure in values and c.grows]
        violations = {c.measure: c.violation(values[c.measure]) for c in known}
        over = {name: v for name, v in violations.items() if v > 0}
        return Rejection.over_budget(over) if over else None

    def network(self, architecture: Architecture) -> Network:
        """The untrained network, on the device of this process."""
        n, q = self.spec.network, self.spec.quantization
        neuron = Neuron(
            tau=n.tau,
            surrogate=n.surrogate,
            reset=n.reset,
            detach_reset=n.detach_reset,
            fires_at_threshold=n.fires_at_threshold,
        )
        network = Network(
            architecture,
            self.source.task,
            n.votes,
            n.dropout,
            neuron=neuron,
            rounding=Rounding(8, q.per, q.scale, q.when),
            norm_each_step=n.norm == "step",
            momentum=n.norm_momentum,
        )
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def train(
        self,
        screened: Evaluation,
        weights: Path | None = None,
        check_interrupt: Callable[[], None] = lambda: None,
        on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
    ) -> Evaluation:
        """The candidate measured on validation images; `weights` keeps the network.

        Beside `weights` lie the last epoch of a training that was ended, which is continued, and
        the weights that candidates of the study share. Without epochs it is scored untrained.
        """
        start = time.perf_counter()
        torch.manual_seed(screened.seed)
        network = self.network(screened.architecture)
        scored = replace(screened, proxies=self._proxies(network, screened.architecture))
        try:
            measured = self._measured(network, scored, weights, check_interrupt, on_epoch)
        except Diverged as error:
            measured = replace(scored, outcome="diverged", reason=str(error))
        if weights is not None and measured.trained:
            save_weights(network, weights)
        return replace(measured, seconds=time.perf_counter() - start)

    def resume_training(
        self, earlier: Evaluation, weights: Path, check_interrupt: Callable[[], None] = lambda: None
    ) -> Evaluation:
        """A candidate whose training ended early, measured behind the study's last epoch.

        It is what one training to there would be; its seconds are those of all parts.
        """
        screened = replace(self.screen(earlier.architecture, earlier.seed), curve=earlier.curve)
        found = self.train(screened, weights, check_interrupt)
        return replace(found, seconds=earlier.seconds + found.seconds)

    def with_last_epoch(self, until: int) -> "Evaluator":
        """The same whose trainings end at this epoch, where there is nothing left to compare."""
        t, search = self.spec.training, self.spec.search.model_copy(update={"halving": None})
        if until == t.last:
            return self
        rungs = tuple(n for n in t.rungs if n < until)
        training = t.model_copy(update={"until": until, "rungs": rungs})
        changed = {"training": training, "search": search}
        return replace(self, spec=self.spec.model_copy(update=changed))

    def ended_early(self, evaluation: Evaluation) -> bool:
        return evaluation.trained and evaluation.fidelity < self.spec.training.last

    def delete_checkpoint(self, measured: Evaluation, weights: Path) -> None:
        """Ends what was kept of a training, unless more of it may come; its result must be safe."""
        over = self.spec.training.last == self.spec.training.epochs
        if over or measured.outcome == "diverged":
            self._checkpoint(measured, weights).forget()

    def _proxies(self, network: Network, architecture: Architecture) -> dict[str, float]:
        """Training-free scores on the first training images, by name."""
        asked = self.spec.proxies
        if not asked.names:
            return {}
        train = self.images(architecture.time_steps).train
        images = batch(train, slice(asked.samples))[0].to(self.device)
        return {name: score(name, network, images).value for name in asked.names}

    def proxies(self, architecture: Architecture) -> dict[str, float]:
        """Training-free scores of a candidate with weights drawn by the study's seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.spec.seed)
            return self._proxies(self.network(architecture), architecture)

    def _measured(
        self,
        network: Network,
        candidate: Evaluation,
        weights: Path | None,
        check_interrupt: Callable[[], None],
        on_epoch: Callable[[int, float], None],
    ) -> Evaluation:
        plan = self.spec.training
        if not plan.last:
            return replace(candidate, outcome="scored")
        images = self.images(candidate.architecture.time_steps)
        saved = None if weights is None else self._checkpoint(candidate, weights)
        notes = {} if saved is None else saved.notes
        pool = None if weights is None or not plan.inherit else weights.parent / inheritance.POOL
        if pool:  # a training that is continued began with what its notes say
            notes["inherited"] = inheritance.inherit(network, candidate.architecture, pool)
        recipe = recipe_of(self.spec)
        for epoch in fit(
            network, Stored(images.train), recipe, candidate.seed,
            until=plan.last, check_interrupt=check_interrupt, saved=saved, device=self.device,
        ):  # fmt: skip
            on_epoch(epoch.number, epoch.loss)
            if epoch.number in plan.rungs and epoch.number < plan.last:
                settled = recalibrated(network, Stored(images.train), plan.batch_size, self.device)
                share = self._accuracy(settled, images.validation)
                notes.setdefault("curve", []).append([epoch.number, share])
        if plan.last < plan.epochs:
            recalibrate(network, Stored(images.train), plan.batch_size, self.device)
        if pool:
            inheritance.contribute(network, candidate.architecture, pool)
        shares = {int(n): float(share) for n, share in (*candidate.curve, *notes.get("curve", ()))}
        curve = tuple(sorted((n, share) for n, share in shares.items() if n < plan.last))
        inherited = float(notes.get("inherited", 0.0))
        return self._scored(network, replace(candidate, curve=curve, inherited=inherited))

    def _scored(self, network: Network, candidate: Evaluation) -> Evaluation:
        """The trained network measured: accuracy, spike rates, costs at these, chips."""
        held_out = self.images(candidate.architecture.time_steps).validation
        share = self._accuracy(network, held_out)
        sample = batch(held_out, slice(RATE_SAMPLES))[0].to(self.device)
        rates = spike_rates(network, sample)
        workload = self.workload(candidate.architecture).with_spike_rates(rates)
        trained = replace(
            candidate,
            outcome="trained",
            fidelity=self.spec.training.last,
            accuracy=share,
            curve=(*candidate.curve, (self.spec.training.last, share)),
            spike_rates=rates,
            spike_rate=firing_rate(network, sample),
            on_chip=self._on_chip(network, candidate),
        )
        return self._costed(trained, workload)

    def _checkpoint(self, candidate: Evaluation, weights: Path) -> checkpoint.Place:
        """Where a training is kept; its identity is of all that decides the weights."""
        parts = {"network", "quantization", "training", "data"}
        unlike = {"training": {"until", "rungs"}, "quantization": {"scoring"}}
        spec = self.spec.model_dump(include=parts, exclude=unlike)
        facts = [spec, self.data_digest, candidate.architecture.digest, candidate.seed]
        identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return checkpoint.Place(weights.with_suffix(".training.safetensors"), identity)

    def _on_chip(self, network: Network, candidate: Evaluation) -> tuple[float, ...]:
        """Accuracy on each simulated chip, where the study asks for some."""
        draws = self.spec.hardware.chips
        if not draws:
            return ()
        held_out = self.images(candidate.architecture.time_steps).validation
        images = held_out.take(np.arange(min(CHIP_SAMPLES, len(held_out))))
        chip = self._ensemble(candidate.architecture).profile.chip
        return accuracy_on_chip(network, Stored(images), chip, draws, candidate.seed)

    def test_accuracy(self, architecture: Architecture, weights: Path) -> float:
        """Share of right answers on the test images, which nothing else reads."""
        network = self.network(architecture)
        load_weights(network, weights)
        images = self.source.read_test(self.folder, architecture.time_steps)
        images = images.scaled(self.data.mean, self.data.deviation)
        return self._accuracy(network, images)

    def _accuracy(self, network: Network, images: Images) -> float:
        """Share of right answers of the network, or as it is deployed where the study says so."""
        deploy = self.spec.quantization.scoring == "int8"
        scored = in_int8(deployed(network)) if deploy else network
        return accuracy(scored, Stored(images), self.device)


def _say_memory(asked_GiB: float) -> None:
    """A line of log where candidates may be trained that this machine has no memory for."""
    here_GiB = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if asked_GiB > here_GiB:
        log.warning(
            "training.memory_GiB = %g, but this machine has %.1f GiB: a training may be killed",
            asked_GiB,
            here_GiB,
        )


def _split(spec: StudySpec, source: Source, folder: Path, time_steps: int) -> Split:
    held_out = spec.data.validation_samples or source.validation_samples
    images = source.read_train(folder, time_steps)
    return split(images, spec.data.train_samples, held_out, spec.data.split_seed)


def recipe_of(spec: StudySpec) -> Recipe:
    t = spec.training
    rate, decay = {"adamw": (0.01, 0.01), "sgd": (0.1, 5e-4)}[t.optimizer]
    return Recipe(
        t.epochs,
        t.batch_size,
        rate if t.learning_rate is None else t.learning_rate,
        decay if t.weight_decay is None else t.weight_decay,
        t.optimizer,
        t.schedule,
        t.warm_up,
        t.momentum,
        t.clip,
        t.precision,
        Augmentation(t.crop, t.flip),
    )


def with_repair(unborn: Evaluation, rejection: Rejection, budgets: Budgets) -> Evaluation:
    """The rejected candidate with its reason and its cheapest repair, where the space has one."""
    reason = rejection.reason
    unborn = replace(unborn, reason=reason, rejected_by=rejection.checks, repair={})
    try:
        found = repair(budgets, unborn.architecture)
    except SpecError:  # the candidate is of another space
        return unborn
    if found is None:
        return replace(unborn, reason=f"{reason}; no repair found by up to {MOST} changes")
    fits = budgets.composition.space.parameters(found.architecture)
    return replace(unborn, reason=f"{reason}; fits with {found}", repair=fits)


def violations(spec: StudySpec, evaluation: Evaluation) -> dict[str, float]:
    """Relative violation of every constraint, finite, in the order of the study."""
    return spec.violations(values_with_fallbacks(evaluation))
