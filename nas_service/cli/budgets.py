"""What is printed of a study's budgets before a search: the best values that its space has."""

from nas_service.evaluation.attainable import exact_attainable, least_memory_GiB, prospects
from nas_service.evaluation.screening import Budgets
from nas_service.metrics import METRICS
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.rejection import MEMORY
from nas_service.study.spec import StudySpec
from nas_service.text import percent


def best_values(spec: StudySpec) -> dict[str, str]:
    """Each budget of a study with the exact best value of its space, or how to know it.

    Args:
        spec: The study.

    Returns:
        Budget -> best value, in the order of the study; last the memory of a training, where no
        candidate fits it.
    """
    best = {x.constraint: str(x) for x in exact_attainable(Budgets.of(spec))}
    values = {c.described: best.get(c) or _unknown(c.metric) for c in spec.constraints}
    return values | _memory(spec)


def impossible_budgets(spec: StudySpec) -> list[str]:
    """The budgets of a study that certainly no candidate keeps, each with the best value."""
    known = exact_attainable(Budgets.of(spec))
    over = {x.constraint.described: str(x) for x in known if x.is_impossible}
    return [f"{budget}: {best}" for budget, best in (over | _memory(spec)).items()]


def _memory(spec: StudySpec) -> dict[str, str]:
    """The memory of a training with the least that a candidate needs, where none fits."""
    least, limit = least_memory_GiB(Budgets.of(spec)), spec.training.memory_GiB
    if least is None or least <= limit:
        return {}
    return {f"{MEMORY} = {limit:g}": f"least {least:.3g}, no training fits"}


def _unknown(metric: str) -> str:
    m = METRICS[metric]
    if m.trained:
        return "measured in a training"
    return "a score of the network" if m.proxy else "depends on the wiring: --budgets"


def budgets_line(spec: StudySpec, density: InputDensity = ASSUMED) -> str:
    """One line on a study's budgets: the best value for each, and what keeps all of them.

    Args:
        spec: The study.
        density: Of the bits of its data.

    Returns:
        The line; empty for a study without a budget on costs.
    """
    known = prospects(spec, density=density)
    if not known.attainable:
        return ""
    each = [f"{x.constraint.described} ({x})" for x in known.attainable]
    rate = f"at spike rate {percent(spec.hardware.assumed_rate)}"
    few = f", fewer than the {spec.search.trainings} trainings" if known.is_below(spec) else ""
    return f"budgets: {', '.join(each)}; {known.together}{few}, {rate}; {density.text}"
