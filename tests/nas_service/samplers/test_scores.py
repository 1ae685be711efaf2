"""Training-free scores: calculated by hand, and their benefit to the grey-box sampler."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from nas_service.samplers.greybox import DomainKnowledge, GreyBoxSampler
from nas_service.samplers.greybox.sampler import SCORED
from nas_service.samplers.greybox.scores import FARTHEST, Unit, columns, units

SPACE = {f"d{i}": CategoricalDistribution((0, 1, 2, 3)) for i in range(5)}
HIDDEN = np.random.default_rng(0).normal(size=4**5)  # nothing of the parameters foretells it


def hidden(params):
    return float(HIDDEN[sum(4**i * params[f"d{i}"] for i in range(5))])


def search(scores, trials, seed):
    """The study, and its sampler."""
    sampler = GreyBoxSampler(DomainKnowledge(scores=scores), distributions=SPACE, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(trials):
        trial = study.ask(SPACE)
        for name, score in scores.items():
            trial.set_user_attr(name, float(score([trial.params])[0]))
        study.tell(trial, hidden(trial.params))
    return study, sampler


def related(listed):
    return [hidden(p) + np.sin(37 * hidden(p)) / 2 for p in listed]


def test_units_by_hand():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, np.nan, -1e6])
    unit = Unit.of(values)
    assert unit.middle == 2.5
    assert unit.deviation == pytest.approx(2.5 / 1.349)
    standard = unit.standard(np.array([2.5, 5.0, np.nan, -1e6]))
    assert standard.tolist() == pytest.approx([0, 1.349, 0, -FARTHEST])


def test_constant_scores_are_no_columns():
    observed = {"few": np.array([1.0, 2.0, np.nan]), "same": np.ones(9), "good": np.arange(9.0)}
    known = units(observed)
    assert list(known) == ["good"]
    assert columns(known, {**observed, "good": np.array([4.0, np.nan])}).tolist() == [[0], [0]]


def test_a_predictive_score_improves_proposals():
    best = {
        kind: np.mean([search(s, 20, seed)[0].best_value for seed in range(4)])
        for kind, s in (("scored", {"s": related}), ("blind", {}))
    }
    assert best["scored"] > best["blind"] + 0.4


def test_few_candidates_are_scored_and_each_once():
    proposed_batches = []

    def counted(listed):
        proposed_batches.append([tuple(p.values()) for p in listed])
        return related(listed)

    search({"s": counted}, 12, seed=0)
    batches = [
        batch for batch in proposed_batches if len(batch) > 1
    ]  # others are of the loop above
    assert 0 < len(batches) <= 12
    assert max(map(len, batches)) <= SCORED
    flat = [p for batch in batches for p in batch]
    assert len(flat) == len(set(flat))


def test_cached_scores_change_no_proposal():
    study, sampler = search({"s": related}, 10, seed=1)
    fresh = GreyBoxSampler(DomainKnowledge(scores={"s": related}), distributions=SPACE, seed=1)
    again = optuna.load_study(
        study_name=study.study_name, storage=study._storage, sampler=fresh
    ).ask(SPACE)
    trial = study.trials[again.number]
    assert sampler.sample_relative(study, trial, SPACE) == again.params
