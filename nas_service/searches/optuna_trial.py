"""A finished candidate as Optuna's trial, and as a line for a person."""

from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import Trial

from nas_service.metrics import MEASURED, Evaluation, measure, values_with_fallbacks
from nas_service.store.records import CONTINUED
from nas_service.study.rejection import PATH
from nas_service.study.spec import StudySpec
from nas_service.text import duration, metric, metric_label

TRAINABLE = "trainable"  # our own constraint: above 0 where nothing could be trained
USELESS = 1000.0  # its value without a path: more than a small network gains on other budgets
REASON = 2000  # characters kept in a trial


@dataclass(frozen=True)
class Measured:
    """The numbers of one evaluation in its study."""

    known: dict[str, float]  # metrics that are measured, by name
    values: dict[str, float]  # every metric, finite: fallbacks replace what is not measured
    violations: dict[str, float]  # relative, of every constraint of the study, in its order

    @classmethod
    def of(cls, spec: StudySpec, evaluation: Evaluation) -> "Measured":
        """Computes the numbers of an evaluation.

        Args:
            spec: The study.
            evaluation: What is known of the candidate.

        Returns:
            Metrics, values of the objectives, and violations of the constraints.
        """
        values = values_with_fallbacks(evaluation)
        return cls(measure(evaluation), values, spec.violations(values))


def report_by_number(
    study: optuna.Study, spec: StudySpec, number: int, evaluation: Evaluation, outcome: str
) -> None:
    """As `report_trial`, for a trial given by its number; a finished trial is left as it is.

    Args:
        study: Optuna's study.
        spec: The study.
        number: Of the trial.
        evaluation: The trial's candidate.
        outcome: As in `report_trial`.
    """
    trial_id = study.get_trials(deepcopy=False)[number]._trial_id
    report_trial(Trial(study, trial_id), spec, evaluation, outcome, Measured.of(spec, evaluation))


def report_trial(
    trial: Trial, spec: StudySpec, evaluation: Evaluation, outcome: str, measured: Measured
) -> None:
    """Writes a result into Optuna's trial, once: attributes, constraints, values, in this order.

    Every trial has all constraints in the same order, all finite. A candidate that was not trained
    is reported with its real costs and its fallbacks, so that samplers learn the border.

    Args:
        trial: A running trial; a finished one is left as it is.
        spec: The study.
        evaluation: The trial's candidate.
        outcome: Of the trial; that of the evaluation, "cached" or "continued".
        measured: The numbers of the evaluation.
    """
    frozen = trial.storage.get_trial(trial._trial_id)
    if frozen.state.is_finished():
        return
    for key, value in _attributes(evaluation, outcome, measured).items():
        trial.set_user_attr(key, value)
    for key, violation in constraint_values(evaluation, measured).items():
        if key not in frozen.constraints:
            trial.set_constraint(key, violation)
    values = [measured.values[o.metric] for o in spec.objectives]
    trial.study.tell(trial, values, skip_if_finished=True)


def _attributes(evaluation: Evaluation, outcome: str, measured: Measured) -> dict[str, Any]:
    attributes: dict[str, Any] = {"outcome": outcome, "digest": evaluation.architecture.digest}
    attributes |= {name: round(value, 6) for name, value in measured.known.items()}
    if evaluation.reason:
        attributes["reason"] = evaluation.reason[:REASON]
    if evaluation.rejected_by:
        attributes["rejected_by"] = list(evaluation.rejected_by)
    return attributes


def constraint_values(evaluation: Evaluation, measured: Measured) -> dict[str, float]:
    """The values of Optuna's constraints; a trial is feasible where none is above 0.

    Args:
        evaluation: The candidate.
        measured: The numbers of the evaluation.

    Returns:
        The study's relative violations by constraint, and TRAINABLE: USELESS where the candidate
        has no path, 1 where it diverged, or was not measured although it violates no constraint;
        else -1.
    """
    if PATH in evaluation.rejected_by:
        return measured.violations | {TRAINABLE: USELESS}
    violated = any(v > 0 for v in measured.violations.values())
    trainable = (evaluation.measured or violated) and evaluation.outcome != "diverged"
    return measured.violations | {TRAINABLE: -1.0 if trainable else 1.0}


def line(
    spec: StudySpec, number: int, evaluation: Evaluation, outcome: str, measured: Measured
) -> str:
    """A line for a person: the trial's number, outcome, objectives and verdict.

    Args:
        spec: The study.
        number: Of the trial.
        evaluation: The trial's candidate.
        outcome: Of the trial; that of the evaluation, "cached" or "continued".
        measured: The numbers of the evaluation.

    Returns:
        The line, without its end.
    """
    known = measured.known
    names = [o.metric for o in spec.objectives if o.metric in known]
    shown = [f"{metric_label(name)} {metric(name, known[name])}" for name in names]
    if evaluation.trained and (len(spec.steps) > 1 or evaluation.fidelity < spec.training.last):
        shown.append(f"after {evaluation.fidelity} of {spec.training.last} epochs")
    seconds = f" in {duration(evaluation.seconds)}" if outcome in MEASURED else ""
    verdict = _verdict(spec, evaluation, outcome, measured)
    return f"trial {number:4d}  {outcome:8s}{seconds}  {', '.join(shown)}  {verdict}"


def _verdict(spec: StudySpec, evaluation: Evaluation, outcome: str, measured: Measured) -> str:
    """Feasible, the constraints that are violated, or why nothing was measured."""
    if evaluation.rejected:
        return evaluation.reason
    over = [f"{k} +{100 * v:.3g} %" for k, v in measured.violations.items() if v > 0]
    has_result = outcome in MEASURED or (evaluation.measured and outcome in ("cached", CONTINUED))
    if has_result and not over:
        return "feasible" + (", below reference" if spec.missed_references(measured.known) else "")
    return ", ".join(over) or evaluation.reason
