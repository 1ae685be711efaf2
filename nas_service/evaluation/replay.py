"""One recorded training, run again by itself."""

from nas_service.errors import StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import Evaluation

COMPARED = ("outcome", "accuracy", "spike_rate", "spike_rates")


def replay(evaluator: Evaluator, recorded: Evaluation) -> Evaluation:
    """The candidate trained again with the recorded recipe and seed, to the recorded epoch.

    Args:
        evaluator: The evaluator of the recorded candidate's study.
        recorded: The candidate as it was measured.

    Returns:
        The new evaluation, to compare with the recorded one.

    Raises:
        StudyError: Nothing was trained, or the training began with weights of other candidates.
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
        evaluator = evaluator.with_last_epoch(recorded.fidelity)
    return evaluator.train(evaluator.screen(recorded.architecture, recorded.seed))


def differences(recorded: Evaluation, again: Evaluation) -> dict[str, tuple[object, object]]:
    """What was measured differently.

    Args:
        recorded: The stored evaluation.
        again: The evaluation of its replay.

    Returns:
        name -> (recorded value, new value), of those of COMPARED that differ.
    """
    pairs = {name: (getattr(recorded, name), getattr(again, name)) for name in COMPARED}
    return {name: (was, now) for name, (was, now) in pairs.items() if was != now}


def changed_versions(recorded: Evaluation, again: Evaluation) -> dict[str, tuple[str, str]]:
    """What was computed with another version.

    Args:
        recorded: The stored evaluation.
        again: The evaluation of its replay.

    Returns:
        package -> (recorded version, new version), of those that differ; empty where it is missing.
    """
    names = recorded.versions.keys() | again.versions.keys()
    pairs = {n: (recorded.versions.get(n, ""), again.versions.get(n, "")) for n in sorted(names)}
    return {name: (was, now) for name, (was, now) in pairs.items() if was != now}
