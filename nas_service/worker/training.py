"""Where a worker's trainings run: in its own process, or each in a child process."""

from collections.abc import Callable
from pathlib import Path

from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import Evaluation
from nas_service.worker.training_process import Job, TrainingClient

Train = Callable[[Evaluator, Evaluation, Path, Callable[[], None]], Evaluation]
"""Trains a candidate, screened or trained before: evaluator, candidate, file of its weights, and
`check_interrupt`, which is called between batches and may raise."""


def train_in_process(
    evaluator: Evaluator, candidate: Evaluation, weights: Path, check_interrupt: Callable[[], None]
) -> Evaluation:
    """Trains a candidate in this process, which ends if the training ends it.

    Args:
        evaluator: Trains candidates of the study.
        candidate: As it was screened, or as it was measured when its earlier training ended.
        weights: File for the trained weights.
        check_interrupt: Called before every batch; may raise to end the training.

    Returns:
        The candidate with the result of its training.
    """
    train = evaluator.resume_training if candidate.trained else evaluator.train
    return train(candidate, weights, check_interrupt)


def train_in_children(client: TrainingClient, seconds: float | None = None) -> Train:
    """A function that trains each candidate in a child process.

    Args:
        client: Runs the child processes.
        seconds: Time after which a training is ended as a failure; None for no limit.

    Returns:
        The function, with the arguments of `train_in_process`. It raises ChildFailure where a
        training ends without a result.
    """

    def train(
        evaluator: Evaluator,
        candidate: Evaluation,
        weights: Path,
        check_interrupt: Callable[[], None],
    ) -> Evaluation:
        job = Job(
            evaluator.spec,
            evaluator.folder,
            candidate,
            weights,
            resume=candidate.trained,
            density=evaluator.density,
        )
        return client.run(job, check_interrupt, seconds)

    return train
