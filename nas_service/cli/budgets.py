"""What is printed of a study's budgets before a search: the best values that its space has."""

from collections.abc import Iterable

from nas_service.evaluation.attainable import Attainable, prospects
from nas_service.metrics import METRICS
from nas_service.study.spec import StudySpec


def best_values(spec: StudySpec, known: Iterable[Attainable]) -> dict[str, str]:
    """Each budget of a study with the best value of the space, or how to know it.

    Args:
        spec: The study.
        known: The best values.

    Returns:
        Budget -> best value, in the order of the study.
    """
    best = {x.constraint: str(x) for x in known}
    return {c.described: best.get(c) or _unknown(c.metric) for c in spec.constraints}


def _unknown(metric: str) -> str:
    m = METRICS[metric]
    if m.trained:
        return "measured in a training"
    return "a score of the network" if m.proxy else "depends on the wiring: --budgets"


def budgets_line(spec: StudySpec) -> str:
    """One line on a study's budgets: the best value for each, and what keeps all of them.

    Args:
        spec: The study.

    Returns:
        The line; empty for a study without a budget on costs.
    """
    known = prospects(spec)
    if not known.attainable:
        return ""
    each = [f"{x.constraint.described} ({x})" for x in known.attainable]
    rate = f"at spike rate {spec.hardware.assumed_rate:g}"
    few = f", fewer than the {spec.search.trainings} trainings" if known.is_below(spec) else ""
    return f"budgets: {', '.join(each)}; {known.together}{few}, {rate}"
