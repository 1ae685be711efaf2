"""From an architecture to its evaluation: costs first, a training only if it can pay."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch

from hw_models import Workload
from nas_service.data.batches import batch
from nas_service.data.dataset import Source
from nas_service.data.images import Images
from nas_service.evaluation.environment import device, warn_of_memory
from nas_service.evaluation.images import StudyImages
from nas_service.evaluation.networks import build_network, recipe_of
from nas_service.evaluation.recording import record
from nas_service.evaluation.scoring import (
    accuracy_of,
    chip_accuracies,
    proxy_scores,
    spikes_and_counts,
)
from nas_service.evaluation.screener import Ensembles, Screener
from nas_service.evaluation.screening import Budgets, shared_workloads
from nas_service.evaluation.training_run import TrainingRun, checkpoint_of, origin, pool_of
from nas_service.metrics import Evaluation
from nas_service.snn.checkpoint import load_weights, save_weights
from nas_service.snn.network import Network
from nas_service.snn.training import Diverged, firing_rate
from nas_service.snn.workload_cache import WorkloadCache
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.input_density import InputDensity
from nas_service.study.spec import StudySpec

RATE_SAMPLES = 256  # validation images on which spike rates are measured


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Everything a candidate is measured with: the study's data, chip and recipe."""

    spec: StudySpec
    images: StudyImages
    workloads: WorkloadCache
    device: torch.device
    density: InputDensity  # of the bits of the study's data
    _ensembles: Ensembles = field(default_factory=dict, repr=False)

    @classmethod
    def open(
        cls,
        spec: StudySpec,
        folder: Path,
        source: Source | None = None,
        space: CellSpace | None = None,
        density: InputDensity | None = None,
    ) -> "Evaluator":
        """Reads the study's data from a folder of data sets.

        Args:
            spec: The study.
            folder: Where the data sets are.
            source: The study's data set, where it is open already.
            space: The study's space, where it is built already.
            density: Of the data's bits, where it is known; else it is measured.

        Returns:
            The evaluator of the study's candidates.

        Raises:
            DataError: The data are missing or damaged.
            SpecError: This machine has no such device as NAS_DEVICE names.
        """
        warn_of_memory(spec.training.memory_GiB)
        images = StudyImages.open(spec, folder, source)
        space = spec.build_space() if space is None else space
        workloads = shared_workloads(space, images.source.task, spec.network.votes)
        return cls(spec, images, workloads, device(), density or images.density())

    @property
    def folder(self) -> Path:
        """The folder of data sets."""
        return self.images.folder

    @property
    def data_digest(self) -> str:
        """16 hex digits of the training and validation images."""
        return self.images.digest

    def workload(self, architecture: Architecture) -> Workload:
        """The layers of a candidate; their spike rates are not known yet."""
        return self.workloads.workload(architecture)

    def network(self, architecture: Architecture) -> Network:
        """The untrained network, on the device of this process."""
        return build_network(self.spec, self.images.source.task, architecture, self.device)

    @cached_property
    def budgets(self) -> Budgets:
        """The budgets that `screen` checks, for many candidates at once."""
        return Budgets(self.spec, self.workloads, self.density)

    @cached_property
    def _screener(self) -> Screener:
        return Screener(self.spec, self.workloads, self.density, self._ensembles)

    def screen(
        self, architecture: Architecture, seed: int, repairs: Budgets | None = None
    ) -> Evaluation:
        """What is known of a candidate before its training, and why it is rejected, if it is.

        Args:
            architecture: The candidate.
            seed: Seed of its training.
            repairs: Budgets whose space a repair is searched in; the evaluator's own by default.

        Returns:
            Exact sizes, and costs at assumed spike rates, which they name; outcome `screened` where
            the candidate deserves its training, else `rejected`.
        """
        return self._screener.screen(architecture, seed, repairs or self.budgets)

    def train(
        self,
        screened: Evaluation,
        weights: Path | None = None,
        check_interrupt: Callable[[], None] = lambda: None,
        on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
    ) -> Evaluation:
        """Trains a candidate and measures it on validation images.

        Args:
            screened: The candidate as `screen` returned it.
            weights: File for the trained weights. Its folder also holds the checkpoint of a
                training that was interrupted, which is continued, and shared weights.
            check_interrupt: Called before every batch; may raise to end the training.
            on_epoch: Called after every epoch with its number and its mean loss.

        Returns:
            The candidate with outcome `trained`, `diverged`, or, where the study trains for no
            epoch, `scored`.
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
            save_weights(network, weights, origin(self.spec, self.data_digest, measured))
            if self.spec.hardware.record == "traces":
                _record(self, network, measured, weights)
        return replace(measured, seconds=time.perf_counter() - start)

    def resume_training(
        self,
        earlier: Evaluation,
        weights: Path,
        check_interrupt: Callable[[], None] = lambda: None,
    ) -> Evaluation:
        """Continues a training that ended early to the study's last epoch, and measures again.

        Args:
            earlier: The candidate as it was measured when its training ended.
            weights: File of its weights, with its checkpoint beside it.
            check_interrupt: Called before every batch; may raise to end the training.

        Returns:
            What one training to there would have given; its seconds are those of all parts.
        """
        screened = replace(self.screen(earlier.architecture, earlier.seed), curve=earlier.curve)
        trained = self.train(screened, weights, check_interrupt)
        return replace(trained, seconds=earlier.seconds + trained.seconds)

    def with_last_epoch(self, until: int) -> "Evaluator":
        """The same evaluator, its trainings ending at this epoch with no rungs left after it."""
        t, search = (
            self.spec.training,
            self.spec.search.model_copy(update={"reduction_factor": None}),
        )
        if until == t.last:
            return self
        rungs = tuple(n for n in t.rungs if n < until)
        training = t.model_copy(update={"until": until, "rungs": rungs})
        changed = {"training": training, "search": search}
        return replace(self, spec=self.spec.model_copy(update=changed))

    def ended_early(self, evaluation: Evaluation) -> bool:
        """True for a candidate whose training ended before the last epoch of the study."""
        return evaluation.trained and evaluation.fidelity < self.spec.training.last

    def delete_checkpoint(self, measured: Evaluation, weights: Path) -> None:
        """Deletes the checkpoint of a training that will not be continued.

        Call it once the result is stored.

        Args:
            measured: The candidate after its training.
            weights: File of its weights.
        """
        over = self.spec.training.last == self.spec.training.epochs
        if over or measured.outcome == "diverged":
            checkpoint_of(self.spec, self.data_digest, measured, weights).delete()

    def proxies(self, architecture: Architecture) -> dict[str, float]:
        """Training-free scores of a candidate with weights drawn by the study's seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.spec.seed)
            return self._proxies(self.network(architecture), architecture)

    def test_accuracy(self, architecture: Architecture, weights: Path) -> float:
        """Share of test images that a trained candidate classifies correctly, 0..1.

        Args:
            architecture: The candidate.
            weights: File of its trained weights.

        Returns:
            The share, 0..1.
        """
        network = self.network(architecture)
        load_weights(network, weights)
        return self._accuracy(network, self.images.test(architecture.time_steps))

    def _proxies(self, network: Network, architecture: Architecture) -> dict[str, float]:
        train = self.images.split(architecture.time_steps).train
        return proxy_scores(network, train, self.spec.proxies, self.device)

    def _accuracy(self, network: Network, images: Images) -> float:
        int8 = self.spec.quantization.scoring == "int8"
        return accuracy_of(network, images, self.device, int8)

    def _measured(
        self,
        network: Network,
        candidate: Evaluation,
        weights: Path | None,
        check_interrupt: Callable[[], None],
        on_epoch: Callable[[int, float], None],
    ) -> Evaluation:
        """The candidate trained and measured, or `scored` where the study trains nothing."""
        if not self.spec.training.last:
            return replace(candidate, outcome="scored")
        run = self._training_run(candidate, weights)
        return self._scored(network, run.train(network, candidate, check_interrupt, on_epoch))

    def _training_run(self, candidate: Evaluation, weights: Path | None) -> TrainingRun:
        saved = None
        if weights is not None:
            saved = checkpoint_of(self.spec, self.data_digest, candidate, weights)
        plan, images = self.spec.training, self.images.split(candidate.architecture.time_steps)
        return TrainingRun(
            plan,
            recipe_of(self.spec),
            images,
            self.device,
            self._accuracy,
            saved,
            pool_of(plan, weights),
        )

    def _scored(self, network: Network, candidate: Evaluation) -> Evaluation:
        """The trained network measured: accuracy, spike rates, costs at these, chips."""
        architecture, last = candidate.architecture, self.spec.training.last
        validation = self.images.split(architecture.time_steps).validation
        accuracy = self._accuracy(network, validation)
        sample = batch(validation, slice(RATE_SAMPLES))[0].to(self.device)
        rates, counted = spikes_and_counts(network, sample, self.spec.metrics)
        rates |= self.images.input_rates(self.density, architecture.time_steps)
        workload = self.workload(architecture).with_spike_rates(rates)
        hardware, bounds = self._screener.costs(architecture, workload)
        chip = self._screener.profile(architecture).chip
        draws = self.spec.hardware.monte_carlo_chips
        return replace(
            candidate,
            outcome="trained",
            hardware=hardware,
            bounds=bounds,
            counted=counted,
            fidelity=last,
            accuracy=accuracy,
            curve=(*candidate.curve, (last, accuracy)),
            spike_rates=rates,
            spike_rate=firing_rate(network, sample),
            on_chip=chip_accuracies(network, validation, chip, draws, candidate.seed),
        )


def _record(evaluator: Evaluator, network: Network, measured: Evaluation, weights: Path) -> None:
    """Keeps what the network's layers read of the first validation samples."""
    architecture = measured.architecture
    validation = evaluator.images.split(architecture.time_steps).validation
    workload = evaluator.workload(architecture)
    record(network, workload, validation, measured, weights, evaluator.device)
