"""Settings of a study's chip that change nothing of what its candidates cost."""

from hw_models import load_profile
from hw_models.effects import SIMULATED, limits
from nas_service.evaluation.screening import workload_cache_of
from nas_service.searches.initial_trials import in_the_middle
from nas_service.spaces.cell import EDGES, Cell
from nas_service.spaces.operations import OPERATIONS
from nas_service.study.spec import StudySpec


def chip_notes(spec: StudySpec) -> list[str]:
    """Why overrides of a study do nothing, tried on a candidate of middle sizes.

    Args:
        spec: A study whose chip has been checked.

    Returns:
        A sentence for each override without effect, or with less than it seems to have.
    """
    overrides = dict(spec.hardware.overrides)
    if spec.hardware.monte_carlo_chips:
        overrides = {key: value for key, value in overrides.items() if key not in SIMULATED}
    if not overrides:
        return []
    space = spec.build_space()
    weighted = [name for name in space.operations if OPERATIONS[name].weighted]
    cell = Cell(((weighted or list(space.operations))[-1],) * len(EDGES))
    architecture = in_the_middle(space, cell)
    workload = workload_cache_of(spec).workload(architecture)
    profile, searched = load_profile(spec.hardware.profile), dict(architecture.chip)
    notes = limits(profile, overrides, workload, searched)
    return [f"hardware.overrides: {note}" for note in notes]
