"""The trained network of a trial, or of one of its repeats, from a study's store."""

from pathlib import Path
from typing import Any

from nas_service.errors import StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.training_run import demand_own
from nas_service.export.loaded import LoadedNetwork
from nas_service.export.trained_network import TrainedNetwork, trained_network
from nas_service.metrics import Evaluation
from nas_service.searches.candidate import Candidate
from nas_service.searches.retraining import in_full, weights_of_repeat
from nas_service.searches.session import Search
from nas_service.searches.weights import explain_missing


def of_trial(
    search: Search, evaluator: Evaluator, candidate: Candidate, repeat: int | None = None
) -> TrainedNetwork:
    """The trained network of a trial.

    Args:
        search: The study.
        evaluator: Of the study, on this machine's data.
        candidate: The trial's.
        repeat: Number of its training by `nas retrain`, from 1; None for that of the search.

    Returns:
        The network.

    Raises:
        StudyError: It was not trained, there is no such repeat, or its weights are not here.
        DataError: The file of weights is damaged, or of another training or epoch.
    """
    facts: dict[str, Any] = {"name": search.name, "trial": candidate.trial}
    evaluation = search.store.archive(search.id).evaluation(candidate.digest)
    weights, test = search.weights(candidate.digest), candidate.test_accuracy
    if repeat is not None:
        facts["repeat"] = repeat
        evaluation, weights, test = _repeated(search, candidate, repeat)
    if evaluation is not None and evaluation.trained and not weights.is_file():
        reason = explain_missing(search, candidate.digest)
        raise StudyError(f"trial {candidate.trial} of {search.name!r}: {reason}")
    if evaluation is None:
        raise StudyError(f"study {search.name!r}: trial {candidate.trial} has no measured network")
    spec = search.spec if repeat is None else in_full(search.spec)
    if evaluation.trained:
        demand_own(spec, evaluator.data_digest, evaluation, weights)
    try:
        return trained_network(evaluator, evaluation, weights, {**facts, "test_accuracy": test})
    except StudyError as error:
        raise StudyError(f"trial {candidate.trial} of {search.name!r}: {error}") from None


def load_candidate(search: Search, evaluator: Evaluator, candidate: Candidate) -> LoadedNetwork:
    """The network of a trained candidate, as `nas_service.load` gives it; see `of_trial`."""
    return LoadedNetwork.of(of_trial(search, evaluator, candidate))


def _repeated(
    search: Search, candidate: Candidate, repeat: int
) -> tuple[Evaluation, Path, float | None]:
    """Evaluation, weights and test accuracy of a repeat."""
    stored = search.store.repeats(search.id).all().get((candidate.digest, repeat - 1))
    if stored is None:
        raise StudyError(
            f"trial {candidate.trial} of {search.name!r} has no repeat {repeat}: "
            f"`nas retrain {search.name} --trial-numbers {candidate.trial}` trains some"
        )
    path = weights_of_repeat(search, candidate.digest, repeat - 1)
    return stored.evaluation, path, stored.test_accuracy
