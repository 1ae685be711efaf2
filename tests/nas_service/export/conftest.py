"""One evaluator for the tests of all formats."""

import exported_networks
import pytest

from nas_service.evaluation.evaluator import Evaluator


@pytest.fixture(scope="session")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    """The evaluator of a small study of the digits."""
    return exported_networks.evaluator(tmp_path_factory.mktemp("study"))
