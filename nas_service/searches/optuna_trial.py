"""What Optuna is told of a finished candidate, and what people are."""

import optuna
from optuna.trial import Trial

from nas_service.evaluation.evaluator import violations
from nas_service.metrics import MEASURED, Evaluation, measure, values_with_fallbacks
from nas_service.store.store import CONTINUED
from nas_service.study.spec import StudySpec

TRAINABLE = "trainable"  # constraint of ours beside the study's: 1 where nothing could be trained
REASON = 2000  # characters kept in a trial


def tell(
    study: optuna.Study, spec: StudySpec, number: int, evaluation: Evaluation, outcome: str
) -> None:
    """As `report_trial`, of a trial by its number; nothing where it is finished."""
    frozen = study.get_trials(deepcopy=False)[number]
    if not frozen.state.is_finished():
        report_trial(Trial(study, frozen._trial_id), spec, evaluation, outcome)


def report_trial(trial: Trial, spec: StudySpec, evaluation: Evaluation, outcome: str) -> None:
    """Writes a result into Optuna's trial, once: attributes, constraints, values, in this order.

    Every trial has all constraints in the same order, all finite; what was not trained is told
    with its real costs and its fallbacks, so that samplers learn the border.
    """
    frozen = trial.storage.get_trial(trial._trial_id)
    if frozen.state.is_finished():
        return
    attributes: dict[str, str | float | list[str]] = {
        "outcome": outcome,
        "digest": evaluation.architecture.digest,
    }
    attributes |= {name: round(value, 6) for name, value in measure(evaluation).items()}
    if evaluation.reason:
        attributes["reason"] = evaluation.reason[:REASON]
    if evaluation.rejected_by:
        attributes["rejected_by"] = list(evaluation.rejected_by)
    for key, value in attributes.items():
        trial.set_user_attr(key, value)
    for key, violation in constraint_values(spec, evaluation).items():
        if key not in frozen.constraints:
            trial.set_constraint(key, violation)
    values = values_with_fallbacks(evaluation)
    trial.study.tell(trial, [values[o.metric] for o in spec.objectives], skip_if_finished=True)


def constraint_values(spec: StudySpec, evaluation: Evaluation) -> dict[str, float]:
    """The study's violations and ours: a candidate that could not be trained is never feasible."""
    found = violations(spec, evaluation)
    within = evaluation.measured or any(v > 0 for v in found.values())
    found[TRAINABLE] = -1.0 if within and evaluation.outcome != "diverged" else 1.0
    return found


def line(spec: StudySpec, number: int, evaluation: Evaluation, outcome: str) -> str:
    """One plain line about a finished trial."""
    values = measure(evaluation)
    shown = [f"{o.metric} {values[o.metric]:.4g}" for o in spec.objectives if o.metric in values]
    over = [f"{k} +{100 * v:.3g} %" for k, v in violations(spec, evaluation).items() if v > 0]
    measured = outcome in MEASURED or (evaluation.measured and outcome in ("cached", CONTINUED))
    judged = "feasible" if measured and not over else ", ".join(over)
    seconds = f" in {evaluation.seconds:.1f} s" if outcome in MEASURED else ""
    verdict = evaluation.reason if evaluation.outcome == "rejected" else judged or evaluation.reason
    if evaluation.trained and (len(spec.steps) > 1 or evaluation.fidelity < spec.training.last):
        shown.append(f"after {evaluation.fidelity} of {spec.training.last} epochs")
    return f"trial {number:4d}  {outcome:8s}{seconds}  {', '.join(shown)}  {verdict}"
