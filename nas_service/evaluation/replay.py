"""One recorded training run again, alone, from its record."""

from nas_service.errors import StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import Evaluation

COMPARED = ("outcome", "accuracy", "spike_rate", "spike_rates")


def replay(bench: Evaluator, recorded: Evaluation) -> Evaluation:
    """The candidate trained with the same recipe and seed to the same epoch.

    StudyError where nothing was trained, or began with weights that have changed since.
    """
    if recorded.outcome not in ("trained", "diverged"):
        raise StudyError(f"it was {recorded.outcome}: there is no training to run again")
    if recorded.inherited:
        share = 100 * recorded.inherited
        raise StudyError(
            f"{share:.0f} % of its weights were other candidates' as they were at its time: "
            "a training of inherited weights cannot be run again"
        )
    if recorded.trained:
        bench = bench.with_last_epoch(recorded.fidelity)
    return bench.train(bench.screen(recorded.architecture, recorded.seed))


def differences(recorded: Evaluation, again: Evaluation) -> dict[str, tuple[object, object]]:
    """What is compared and not the same, by name: as it is recorded, and now."""
    pairs = {name: (getattr(recorded, name), getattr(again, name)) for name in COMPARED}
    return {name: (was, now) for name, (was, now) in pairs.items() if was != now}


def changed_versions(recorded: Evaluation, again: Evaluation) -> dict[str, tuple[str, str]]:
    """Of what decides a number; empty where all is as it was."""
    names = recorded.versions.keys() | again.versions.keys()
    pairs = {n: (recorded.versions.get(n, ""), again.versions.get(n, "")) for n in sorted(names)}
    return {name: (was, now) for name, (was, now) in pairs.items() if was != now}
