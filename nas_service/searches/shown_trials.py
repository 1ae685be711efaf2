"""What plain Optuna tools can say of our trials: which are feasible, and which are results.

optuna-dashboard knows only the constraints of Optuna 4: one list in the system attribute
`constraints` of a trial. Optuna 5 stores one attribute for each constraint, so that without this
list every trial would look feasible.
"""

import sys
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from nas_service.metrics import MEASURED
from nas_service.study.spec import StudySpec

LIST = "constraints"  # the system attribute that plain tools read
NAMED = "constraints:"  # prefix of the attributes that Optuna 5 writes
EPOCHS = "epochs"  # user attribute of trials that trained
OUTCOME = "outcome"  # user attribute of our trials: one of OUTCOMES
UNTRAINED = ("rejected", "diverged")
TRAINED = (*MEASURED, "continued")  # outcomes of trials that measured their own values
OUTCOMES = (*TRAINED, "cached", *UNTRAINED)


def listed(trial: FrozenTrial) -> list[float]:
    """The constraints of a trial as plain tools need them: finite, in the order of their names.

    They draw a trial without a positive entry as feasible. An untrained trial without a positive
    entry gets one, because it is no result.
    """
    attrs = trial.system_attrs
    old = attrs.get(LIST) or []
    values = [*old] if isinstance(old, list) else [old]
    values += [attrs[key] for key in sorted(attrs) if key.startswith(NAMED)]
    constraints = [_finite(value) for value in values]
    if trial.user_attrs.get(OUTCOME) in UNTRAINED and all(c <= 0 for c in constraints):
        constraints.append(1.0)
    return constraints


def _finite(value: object) -> float:
    """The nearest number that JSON can hold; anything but a number is the worst violation."""
    if not isinstance(value, int | float) or value != value:  # NaN differs from itself
        return sys.float_info.max
    return float(max(-sys.float_info.max, min(value, sys.float_info.max)))


def missed_references(spec: StudySpec, trial: FrozenTrial) -> tuple[str, ...]:
    """Objectives in which a trial of a study is worse than the reference."""
    names = [o.metric for o in spec.objectives]
    values = trial.values or ()
    known = dict(zip(names, values, strict=True)) if len(values) == len(names) else {}
    return spec.missed_references(known)


def results(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that can be on a front.

    They are complete and feasible, measured their own values, and are trained for as many epochs
    as any such trial. In another program's study no trial has one of our outcomes, and every
    complete and feasible trial counts.
    """
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    feasible = [t for t in complete if all(c <= 0 for c in t.system_attrs.get(LIST, []))]
    if not any(t.user_attrs.get(OUTCOME) in OUTCOMES for t in complete):
        return feasible
    measured = [t for t in feasible if t.user_attrs.get(OUTCOME) in TRAINED]
    most_epochs = max((t.user_attrs.get(EPOCHS, 0) for t in measured), default=0)
    return [t for t in measured if t.user_attrs.get(EPOCHS, 0) == most_epochs]
