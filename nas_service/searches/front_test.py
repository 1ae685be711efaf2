"""Test accuracies of a front, from the weights that this machine can read.

A search never reads the test images: they are read once the front is known.
"""

from nas_service.errors import DataError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.training_run import demand_own
from nas_service.searches.candidate import Candidate
from nas_service.searches.results import Result
from nas_service.searches.weights import explain_missing, other_place


def measure_test(result: Result, evaluator: Evaluator) -> dict[int, str]:
    """Measures the test accuracy of every candidate on the front that has none, into the store.

    Args:
        result: Of the study; it stays as it was read.
        evaluator: Reads the test images.

    Returns:
        Trial -> why it has no test accuracy, of those that could not be measured.
    """
    reasons = {}
    for candidate in result.front:
        if candidate.test_accuracy is None:
            reasons[candidate.trial] = _measure(result, candidate, evaluator)
    return {trial: reason for trial, reason in reasons.items() if reason}


def _measure(result: Result, candidate: Candidate, evaluator: Evaluator) -> str:
    """Measures one candidate; returns why that is not possible, else an empty text."""
    search, digest = result.search, candidate.digest
    weights, evaluation = search.weights(digest), result.evaluation(candidate)
    if not evaluation.trained:
        return "it was not trained"
    if not weights.is_file():
        return explain_missing(search, digest)
    try:
        demand_own(search.spec, evaluator.data_digest, evaluation, weights)
        accuracy = evaluator.test_accuracy(evaluation.architecture, weights)
    except DataError as error:
        other = other_place(search, digest)
        return f"{error}: {other}" if other else str(error)
    search.store.archive(search.id).set_test_accuracy(digest, accuracy)
    return ""
