"""One candidate before its training: its costs, and whether it deserves a training."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hw_models import HardwareReport, Profile, Workload
from hw_models.uncertainty import Ensemble
from nas_service.errors import SpecError
from nas_service.evaluation.environment import versions
from nas_service.evaluation.repair import MOST, repair
from nas_service.evaluation.screening import Budgets, profile_of
from nas_service.evaluation.training_memory import training_memory_B
from nas_service.metrics import Evaluation
from nas_service.snn.workload_cache import WorkloadCache
from nas_service.spaces.architecture import Architecture, ChipSettings
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.assumed_rates import AssumedRates
from nas_service.study.rejection import Rejection
from nas_service.study.spec import StudySpec

Ensembles = dict[ChipSettings, Ensemble]


@dataclass(frozen=True, eq=False)
class Screener:
    """The costs of candidates one by one, each on its own chip, and the budgets of a study."""

    spec: StudySpec
    workloads: WorkloadCache
    density: InputDensity = ASSUMED  # of the study's data
    ensembles: Ensembles = field(default_factory=dict, repr=False)  # by settings of the chip

    def screen(self, architecture: Architecture, seed: int, repairs: Budgets) -> Evaluation:
        """What is known of a candidate before its training.

        Args:
            architecture: The candidate.
            seed: Seed of its training, kept in the evaluation.
            repairs: Budgets whose space the repair of a rejected candidate is searched in.

        Returns:
            Exact sizes, and costs at the study's assumed spike rate, which they name, and at the
            density of the input; outcome `screened` where the candidate deserves its training,
            else `rejected`.
        """
        workload = self.workloads.workload(architecture)
        rates = AssumedRates.of(self.spec, self.density)
        hardware, bounds = self.costs(architecture, rates.of_workload(workload))
        hardware = replace(hardware, assumed=rates.assumptions(workload))
        screened = Evaluation(
            architecture,
            "screened",
            hardware,
            chance=self.workloads.task.chance,
            seed=seed,
            bounds=bounds,
            versions=versions(),
        )
        rejection = self._rejection(screened, workload)
        return with_repair(screened, rejection, repairs) if rejection else screened

    def costs(
        self, architecture: Architecture, workload: Workload
    ) -> tuple[HardwareReport, dict[str, float]]:
        """The report of a workload on the candidate's chip, and the bounds that the study asks for.

        Args:
            architecture: The candidate.
            workload: Its layers with spike rates, assumed or measured.

        Returns:
            The report, and `metric@confidence` -> the value that the metric keeps at this
            confidence, for every constraint that has one.
        """
        ensemble = self._ensemble(architecture)
        confident = [c for c in self.spec.constraints if c.confidence is not None]
        samples = ensemble.metrics(workload) if confident else {}
        bounds = {c.measure: float(c.bound(samples[c.metric])) for c in confident}
        return ensemble.profile.estimate(workload), bounds

    def profile(self, architecture: Architecture) -> Profile:
        """The profile of the candidate's chip."""
        return self._ensemble(architecture).profile

    def _ensemble(self, architecture: Architecture) -> Ensemble:
        chip = architecture.chip
        if chip not in self.ensembles:
            self.ensembles[chip] = Ensemble(profile_of(self.spec, chip))
        return self.ensembles[chip]

    def _rejection(self, screened: Evaluation, workload: Workload) -> Rejection | None:
        architecture, training = screened.architecture, self.spec.training
        if not architecture.connected:
            return Rejection.without_path()
        need_GiB = training_memory_B(architecture, workload, training.batch_size) / 2**30
        if need_GiB > training.memory_GiB:
            return Rejection.too_large(need_GiB, training.memory_GiB)
        return self._over_budget(screened.hardware_metrics | screened.bounds)

    def _over_budget(self, values: Mapping[str, float]) -> Rejection | None:
        known = [c for c in self.spec.constraints if c.measure in values and c.grows]
        violations = {c.measure: c.violation(values[c.measure]) for c in known}
        over = {name: v for name, v in violations.items() if v > 0}
        return Rejection.over_budget(over) if over else None


def with_repair(screened: Evaluation, rejection: Rejection, budgets: Budgets) -> Evaluation:
    """The rejected candidate with its reason and its cheapest repair, where the space has one.

    Args:
        screened: The candidate.
        rejection: The checks that it fails.
        budgets: Budgets whose space the repair is searched in.

    Returns:
        The evaluation of a candidate that is not trained.
    """
    try:
        repaired = repair(budgets, screened.architecture)
    except SpecError:  # the candidate is of another space
        return _rejected(screened, rejection)
    if repaired is None:
        return _rejected(screened, rejection.unrepaired(MOST))
    parameters = budgets.workloads.space.parameters(repaired.architecture)
    return replace(_rejected(screened, rejection.repaired(repaired)), repair=parameters)


def _rejected(screened: Evaluation, rejection: Rejection) -> Evaluation:
    return screened.reject(rejection.reason, rejection.checks)
