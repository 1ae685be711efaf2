"""From an architecture to what is known of it: costs first, training only if it can pay."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hw_models import HardwareError, Profile, Workload, load_profile
from hw_models.uncertainty import Ensemble
from nas_service.data import source_of
from nas_service.data.images import Split, split
from nas_service.data.source import Source
from nas_service.data.tensors import whole
from nas_service.errors import DataError, SpecError
from nas_service.metrics import Evaluation, told
from nas_service.snn.composition import Composition
from nas_service.snn.network import Network
from nas_service.snn.on_chip import accuracy_on_chip
from nas_service.snn.trace import spike_rates
from nas_service.snn.training import Diverged, Recipe, accuracy, firing_rate, fit
from nas_service.spaces.architecture import Architecture
from nas_service.study import StudySpec

RATE_SAMPLES = 256  # validation images on which spike rates are measured
CHIP_SAMPLES = 128  # validation images that each simulated chip classifies
LIVE_COPIES = 6  # of each layer's outputs while it trains: maps, potentials, spikes, gradients
PACKAGES = ("nas-service", "torch", "norse", "optuna", "numpy")


ChipSettings = tuple[tuple[str, int | str], ...]


def versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


@dataclass(frozen=True, eq=False)
class Bench:
    """Everything a candidate is measured with: the study's data, chip and recipe."""

    spec: StudySpec
    source: Source
    data: Split
    folder: Path
    composition: Composition
    _ensembles: dict[ChipSettings, Ensemble] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, spec: StudySpec, folder: Path) -> "Bench":
        """Reads the data; DataError before any trial is used."""
        source = source_of(spec.data)
        held_out = spec.data.validation_samples or source.validation_samples
        images = source.read_train(folder, min(spec.space.time_steps))
        data = split(images, spec.data.train_samples, held_out, spec.data.split_seed)
        composition = Composition(spec.build_space(), source.task, spec.network.votes)
        return cls(spec, source, data, folder, composition)

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
        bounds = {c.measure: c.bound(samples[c.metric]) for c in asked}
        report = ensemble.profile.estimate(workload)
        return replace(evaluation, hardware=report, bounds=bounds)

    def screen(self, architecture: Architecture, seed: int) -> Evaluation:
        """What is known before training: exact sizes, costs at the assumed rate, why to reject.

        An empty `reason` means that the candidate deserves its training.
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
        return replace(unborn, reason=self._why_not(unborn, workload))

    def _why_not(self, unborn: Evaluation, workload: Workload) -> str:
        if not unborn.architecture.connected:
            return "no path from input to output"
        need = training_memory_B(workload, self.spec.training.batch_size) / 2**30
        if need > self.spec.training.memory_GiB:
            return f"training needs about {need:.1f} GiB of {self.spec.training.memory_GiB:g}"
        return self._over_budget(unborn)

    def _over_budget(self, unborn: Evaluation) -> str:
        values = unborn.hardware_metrics | unborn.bounds
        known = [c for c in self.spec.constraints if c.measure in values and c.grows]
        over = [(c.measure, c.violation(values[c.measure])) for c in known]
        return ", ".join(f"{name} {100 * v:.3g} % over budget" for name, v in over if v > 0)

    def network(self, architecture: Architecture) -> Network:
        settings = self.spec.network
        return Network(architecture, self.source.task, settings.votes, settings.dropout)

    def train(
        self,
        screened: Evaluation,
        weights: Path | None = None,
        pause: Callable[[], None] = lambda: None,
    ) -> Evaluation:
        """The candidate trained and measured on validation images; `weights` keeps the network."""
        start = time.perf_counter()
        torch.manual_seed(screened.seed)
        network = self.network(screened.architecture)
        try:
            measured = self._trained(network, screened, pause)
        except Diverged as error:
            measured = replace(screened, outcome="diverged", reason=str(error))
        if weights is not None and measured.trained:
            save_weights(network, weights)
        seconds = time.perf_counter() - start
        return replace(measured, seconds=seconds, fidelity=self.spec.training.epochs)

    def _trained(
        self, network: Network, screened: Evaluation, pause: Callable[[], None]
    ) -> Evaluation:
        train, held_out = whole(self.data.train), whole(self.data.validation)
        for _ in fit(network, *train, recipe_of(self.spec), screened.seed, pause):
            pass
        score = accuracy(network, *held_out)
        sample = held_out[0][:RATE_SAMPLES]
        rates = spike_rates(network, sample)
        workload = self.workload(screened.architecture).with_spike_rates(rates)
        trained = replace(
            screened,
            outcome="trained",
            accuracy=score,
            spike_rates=rates,
            spike_rate=firing_rate(network, sample),
            on_chip=self._on_chip(network, screened),
        )
        return self._costed(trained, workload)

    def _on_chip(self, network: Network, candidate: Evaluation) -> tuple[float, ...]:
        """Accuracy on each simulated chip, where the study asks for some."""
        draws = self.spec.hardware.chips
        if not draws:
            return ()
        images, labels = (x[:CHIP_SAMPLES] for x in whole(self.data.validation))
        chip = self._ensemble(candidate.architecture).profile.chip
        return accuracy_on_chip(network, images, labels, chip, draws, candidate.seed)

    def test_accuracy(self, architecture: Architecture, weights: Path) -> float:
        """Share of right answers on the test images, which nothing else reads."""
        network = self.network(architecture)
        load_weights(network, weights)
        images = self.source.read_test(self.folder, architecture.time_steps)
        return accuracy(network, *whole(images.scaled(self.data.mean, self.data.deviation)))


def profile_of(spec: StudySpec, chip: ChipSettings = ()) -> Profile:
    """The study's chip, with the settings that were drawn for a candidate."""
    try:
        return load_profile(spec.hardware.profile).with_values(spec.hardware.set | dict(chip))
    except HardwareError as error:
        raise SpecError(f"hardware: {error}") from error


def recipe_of(spec: StudySpec) -> Recipe:
    t = spec.training
    return Recipe(t.epochs, t.batch_size, t.learning_rate, t.weight_decay, t.warm_up)


def training_memory_B(workload: Workload, batch_size: int) -> float:
    """Bound on what a training keeps: optimizer and gradients, and every layer's outputs."""
    outputs = sum(x.out_channels * x.out_size**2 for x in workload.layers)
    return 4.0 * (
        4 * workload.parameters + LIVE_COPIES * outputs * workload.time_steps * batch_size
    )


def save_weights(network: Network, path: Path) -> None:
    """Weights as safetensors, written beside their place and renamed into it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, beside)
    Path(beside).replace(path)


def load_weights(network: Network, path: Path) -> None:
    """Weights back into a network of the same architecture; DataError names a damaged file."""
    try:
        network.load_state_dict(load_file(path))
    except Exception as error:  # safetensors and torch raise several unrelated types
        raise DataError(f"{path}: not the weights of this network ({error})") from error


def violations(spec: StudySpec, evaluation: Evaluation) -> dict[str, float]:
    """Relative violation of every constraint, finite, in the order of the study."""
    return spec.violations(told(evaluation))
