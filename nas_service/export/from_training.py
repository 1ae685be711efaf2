"""The network of a training that no study stores."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas_service.evaluation.evaluator import Evaluator
from nas_service.export.trained_network import TrainedNetwork, trained_network
from nas_service.metrics import Evaluation


def train_and_keep(
    evaluator: Evaluator,
    screened: Evaluation,
    facts: dict[str, Any],
    on_epoch: Callable[[int, float], None],
) -> tuple[Evaluation, TrainedNetwork | None]:
    """Trains a candidate as `Evaluator.train` does, and keeps its network.

    Args:
        evaluator: Trains it.
        screened: The candidate as `Evaluator.screen` returned it.
        facts: What is known of the network beside, as JSON values.
        on_epoch: Called after every epoch with its number and its mean loss.

    Returns:
        The candidate as it was measured, and its network; None where the training diverged.
    """
    with tempfile.TemporaryDirectory(prefix="nas-evaluate-") as folder:
        weights = Path(folder) / "network.safetensors"
        evaluation = evaluator.train(screened, weights, on_epoch=on_epoch)
        if not evaluation.trained:
            return evaluation, None
        return evaluation, trained_network(evaluator, evaluation, weights, facts)
