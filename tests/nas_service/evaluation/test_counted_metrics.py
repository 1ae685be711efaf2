"""NeuroBench's metrics as objectives and budgets of a study."""

import pytest
import tiny

from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import COUNTED, measure, values_with_fallbacks
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.study.loading import load_spec

NAMED = """
[[objectives]]
metric = "membrane_updates"
direction = "minimize"
reference = 1e6
[[constraints]]
metric = "effective_acs"
at_most = 1e6
"""
ARCHITECTURE = Architecture((Cell(("conv3x3",) * 6),) * 2, 4, 2, 16, 2, 8)


@pytest.fixture
def opened(tmp_path):
    """Makes the evaluator of a small study with these sections."""

    def evaluator(sections):
        path = tmp_path / "tiny.toml"
        path.write_text(tiny.QUICK.format(trainings=1) + sections)
        return Evaluator.open(load_spec(path), tmp_path)

    return evaluator


def test_a_training_counts_what_its_study_names(opened):
    """Membrane updates need a pass of their own; all other counts are always there."""
    evaluator = opened(NAMED)
    screened = evaluator.screen(ARCHITECTURE, seed=1)
    trained = evaluator.train(screened)
    known = measure(trained)
    assert set(COUNTED) <= set(known)
    before = values_with_fallbacks(screened)
    for name in ("effective_macs", "membrane_updates"):
        assert 0 < known[name] <= before[name]
    assert known["effective_acs"] <= before["dense_acs"] == known["dense_acs"]
    assert evaluator.spec.violations(known)["effective_acs"] < 0
    other = opened("")
    again = other.train(other.screen(ARCHITECTURE, seed=1))
    assert again.counted == {n: x for n, x in trained.counted.items() if n != "membrane_updates"}


def test_dense_operations_and_footprint_reject_before_a_training(opened):
    for metric in ("dense_synaptic_operations", "footprint_B"):
        section = f'[[constraints]]\nmetric = "{metric}"\nat_most = 100.0\n'
        screened = opened(section).screen(ARCHITECTURE, seed=1)
        assert screened.rejected
        assert metric in screened.reason


def test_effective_operations_reject_at_the_assumed_rate_alone(opened):
    section = '[[constraints]]\nmetric = "effective_acs"\nat_most = 100.0\n[hardware]\n'
    for rate, rejected in ((0.0, False), (0.5, True)):
        evaluator = opened(f"{section}assumed_rate = {rate}\n")
        assert evaluator.screen(ARCHITECTURE, seed=1).rejected == rejected
